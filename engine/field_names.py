"""The field's names of hook points: one table, from which the documentation's is made.

The names are those of TransformerLens 4, which most people of this field have learned. Those of a
layer have ``blocks.5.`` before them. In TransformerLens *query* and *key* mean before rotation;
here `query` and `key` are after it, and `query_pre_rope` and `key_pre_rope` before.
"""

from dataclasses import dataclass

from engine.components import WHOLE_MODEL
from engine.components import ComponentType as C

HIDDEN = "[batch, pos, d_model]"
NEURONS = "[batch, pos, d_mlp]"
HEADS_HERE, HEADS_THERE = "[batch, head, pos, d_head]", "[batch, pos, head, d_head]"
SCORES = "[batch, head, query, key]"


@dataclass(frozen=True)
class FieldName:
    """What TransformerLens calls a component, on one side of it; a record shows the first name.

    `axes` are those of the values here, `axes_there` those of TransformerLens.
    """

    component: C
    names: tuple[str, ...]
    meaning: str
    axes: str
    axes_there: str
    is_input: bool = False

    def of_layer(self, layer: int | str | None) -> tuple[str, ...]:
        """The names as they are for a layer."""
        if self.component in WHOLE_MODEL:
            return self.names
        return tuple(f"blocks.{layer}.{name}" for name in self.names)


def _row(
    component: C,
    names: str,
    meaning: str,
    axes: str = HIDDEN,
    there: str | None = None,
    is_input: bool = False,
) -> FieldName:
    return FieldName(component, tuple(names.split()), meaning, axes, there or axes, is_input)


FIELD_NAMES: tuple[FieldName, ...] = (
    _row(C.EMBEDDING, "hook_embed", "the embedded tokens"),
    _row(
        C.RESIDUAL,
        "hook_resid_pre hook_in",
        "the residual stream as it enters the block",
        is_input=True,
    ),
    _row(C.RESIDUAL, "hook_resid_post hook_out", "the residual stream as it leaves the block"),
    _row(
        C.RESIDUAL_MID,
        "hook_resid_mid hook_mlp_in",
        "the residual stream between attention and MLP",
    ),
    _row(C.LAYERNORM, "ln1.hook_out", "what attention is given, after the norm's weight"),
    _row(C.ATTENTION, "hook_attn_out attn.hook_out", "what attention adds to the stream"),
    _row(
        C.MLP,
        "mlp.hook_in ln2.hook_out",
        "what the MLP is given, after the norm's weight",
        is_input=True,
    ),
    _row(C.MLP, "hook_mlp_out mlp.hook_out", "what the MLP adds to the stream"),
    _row(C.MLP_GATE, "mlp.hook_pre", "what the activation function is given", NEURONS),
    _row(C.MLP_HIDDEN, "mlp.hook_post", "what the down projection is given", NEURONS),
    _row(C.QUERY_PRE_ROPE, "attn.hook_q", "queries before rotation", HEADS_HERE, HEADS_THERE),
    _row(C.KEY_PRE_ROPE, "attn.hook_k", "keys before rotation", HEADS_HERE, HEADS_THERE),
    _row(C.QUERY, "attn.hook_rot_q", "queries after rotation", HEADS_HERE, HEADS_THERE),
    _row(C.KEY, "attn.hook_rot_k", "keys after rotation", HEADS_HERE, HEADS_THERE),
    _row(C.VALUE, "attn.hook_v", "values", HEADS_HERE, HEADS_THERE),
    _row(C.ATTENTION_SCORES, "attn.hook_attn_scores", "before the softmax", SCORES),
    _row(C.ATTENTION_PATTERN, "attn.hook_pattern", "after the softmax", SCORES),
    _row(
        C.HEAD_OUTPUT,
        "attn.hook_z",
        "pattern times values, before the output projection",
        HEADS_HERE,
        HEADS_THERE,
    ),
    _row(C.FINAL_NORM, "ln_final.hook_out", "what the unembedding is given"),
    _row(C.LOGITS, "unembed.hook_out", "the logits", "[batch, pos, d_vocab]"),
)

BY_NAME: dict[str, FieldName] = {name: row for row in FIELD_NAMES for name in row.names}
"""The rows by their names, without ``blocks.5.``."""

_SHOWN = {(row.component, row.is_input): row for row in FIELD_NAMES}


def field_name(component: C, layer: int | None, is_input: bool = False) -> str | None:
    """What TransformerLens calls a component of a layer, ``blocks.5.hook_resid_post``, if it has a
    name for it."""
    row = _SHOWN.get((component, is_input))
    return None if row is None else row.of_layer(layer)[0]


PAGE = """# Names of hook points

Written by `neuroscope-bridge hook-points`; not to be edited.

Wherever a layer or a component is asked for, three vocabularies are understood: the components of
this project, TransformerLens's hook names, and the module paths of transformers and mlx-lm. A
record has both names: `component`, and TransformerLens's as `field_name`.

A name that says all of its place needs no component: `blocks.5.hook_resid_pre`,
`blocks.*.attn.hook_z`, `ln_final.hook_out`. A component may be such a name without its layer, as
`attn.hook_z` of layer `5`. A name and a component that disagree are an error, and so is
`hook_resid_pre`, which is the residual stream as an *input*, with `capture_output`.

In TransformerLens `hook_q` and `hook_k` are *before* rotation: they are `query_pre_rope` and
`key_pre_rope`, and `query` and `key` are `hook_rot_q` and `hook_rot_k`.

Values have the axes of their component, whichever name they were asked for by. In the components of
heads the head comes before the position; TransformerLens has it behind.

{table}
The path of a module, such as `model.layers.5.mlp.down_proj`, is what the module returns, and with
`capture_input` what it is given: that module's input is `mlp_hidden`, and the input of
`model.layers.5.self_attn.o_proj` is `head_output`, of which the module has heads and width in one
axis: `[batch, pos, head * d_head]`. Which modules have hook points is read off a trace of the
model's own code; the names that other architectures have for the same module are understood too. A
module whose input or output is no hook point, such as a projection whose result a norm changes
before it is added to the stream, is an error that says so.
"""


def markdown_page() -> str:
    """The documentation of the names, with the table."""
    return PAGE.format(table=markdown_table())


def markdown_table() -> str:
    """The table as documentation shows it."""
    lines = [
        "| component | TransformerLens | what it is | axes here | axes there |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in FIELD_NAMES:
        names = ", ".join(f"`{name}`" for name in row.of_layer("N"))
        component = f"`{row.component}`" + (", its input" if row.is_input else "")
        there = "the same" if row.axes_there == row.axes else row.axes_there
        lines.append(f"| {component} | {names} | {row.meaning} | {row.axes} | {there} |")
    return "\n".join(lines) + "\n"
