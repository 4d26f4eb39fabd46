"""The field's names for hook points: TransformerLens's, beside those of the API.

The one table of them; `docs/hook-points.md` is made of it.
"""

from typing import NamedTuple

from engine.components import WHOLE_MODEL
from engine.components import ComponentType as C

BLOCK = "blocks"
"""What TransformerLens calls the list of layers, as in ``blocks.5.hook_resid_pre``."""
HEADS_LAST = "[batch, head, pos, d_head] here, [batch, pos, head, d_head] there"


class FieldName(NamedTuple):
    """A component's names in the field, the usual one first; `axes` says where its order differs.

    The names of a layer's components follow ``blocks.N.``.
    """

    component: C
    is_input: bool
    names: tuple[str, ...]
    meaning: str
    axes: str = ""

    def at(self, layer: int | None) -> str:
        """The whole name in a layer (None: of the whole model)."""
        return self.names[0] if layer is None else f"{BLOCK}.{layer}.{self.names[0]}"


FIELD_NAMES = (
    FieldName(C.EMBEDDING, False, ("hook_embed",), "the embedding of the tokens"),
    FieldName(
        C.RESIDUAL,
        True,
        ("hook_resid_pre", "hook_in"),
        "the residual stream as it enters the block",
    ),
    FieldName(C.LAYERNORM, False, ("ln1.hook_out",), "what attention is given"),
    FieldName(
        C.QUERY_PRE_ROPE, False, ("attn.hook_q",), "the query **before** rotation", HEADS_LAST
    ),
    FieldName(C.KEY_PRE_ROPE, False, ("attn.hook_k",), "the key **before** rotation", HEADS_LAST),
    FieldName(C.QUERY, False, ("attn.hook_rot_q",), "the query **after** rotation", HEADS_LAST),
    FieldName(C.KEY, False, ("attn.hook_rot_k",), "the key **after** rotation", HEADS_LAST),
    FieldName(C.VALUE, False, ("attn.hook_v",), "the value", HEADS_LAST),
    FieldName(
        C.ATTENTION_SCORES,
        False,
        ("attn.hook_attn_scores",),
        "scaled and masked scores, before softmax",
    ),
    FieldName(C.ATTENTION_PATTERN, False, ("attn.hook_pattern",), "the attention pattern"),
    FieldName(
        C.HEAD_OUTPUT,
        False,
        ("attn.hook_z",),
        "pattern times value, before the output projection",
        HEADS_LAST,
    ),
    FieldName(
        C.ATTENTION,
        False,
        ("hook_attn_out", "attn.hook_out"),
        "what attention adds to the stream",
    ),
    FieldName(
        C.RESIDUAL_MID, False, ("hook_resid_mid",), "the stream between attention and the MLP"
    ),
    FieldName(C.MLP_GATE, False, ("mlp.hook_pre",), "what the activation function is given"),
    FieldName(
        C.MLP_HIDDEN, False, ("mlp.hook_post",), "the neurons: what the down projection is given"
    ),
    FieldName(C.MLP, False, ("hook_mlp_out", "mlp.hook_out"), "what the MLP adds to the stream"),
    FieldName(
        C.RESIDUAL, False, ("hook_resid_post", "hook_out"), "the stream as it leaves the block"
    ),
    FieldName(C.FINAL_NORM, False, ("ln_final.hook_out",), "what the unembedding is given"),
    FieldName(C.LOGITS, False, ("unembed.hook_out",), "the logits"),
)

NOT_CAPTURED = {
    "ln1.hook_normalized": "it is taken before the norm's weight; ln1.hook_out is taken after it",
    "ln2.hook_normalized": "it is taken before the norm's weight, which no component is",
    "ln_final.hook_normalized": "it is taken before the norm's weight; ln_final.hook_out after it",
}
"""Names that are near to a component and are another tensor, and why."""

BY_NAME = {name: each for each in FIELD_NAMES for name in each.names}
COMPONENT_NAMES = (*(component.value for component in C), *BY_NAME)
"""All names of components that are understood: the API's, then the field's."""


def field_name(component: C, layer: int | None, is_input: bool) -> str | None:
    """The field's name of a value, or None where it has none."""
    found = (e for e in FIELD_NAMES if (e.component, e.is_input) == (component, is_input))
    name = next(found, None)
    return None if name is None else name.at(None if component in WHOLE_MODEL else layer)


def default_hook_id(component: C, layer: int | None) -> str:
    """The id of a hook that was given none: ``layer_5_residual``, ``embedding_output``."""
    return f"{component}_output" if layer is None else f"layer_{layer}_{component}"


def table() -> str:
    """The names as a table in Markdown."""
    rows = ["| here | TransformerLens | what it is | axes |", "| --- | --- | --- | --- |"]
    for each in FIELD_NAMES:
        whole = each.component in WHOLE_MODEL
        names = (name if whole else f"{BLOCK}.N.{name}" for name in each.names)
        here = f"`{each.component}`" + (", input" if each.is_input else "")
        rows.append(
            f"| {here} | {', '.join(f'`{name}`' for name in names)} | {each.meaning} "
            f"| {each.axes or 'same'} |"
        )
    return "\n".join(rows) + "\n"
