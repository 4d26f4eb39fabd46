"""The usual names of a block's modules: which part of it they are in, and what they compute."""

from engine.components import ComponentType as C
from engine.structure.stream import MLP_WORDS

ATTENTION_WORDS = ("attn", "attention")
OF_ATTENTION = frozenset(
    {
        C.LAYERNORM,
        C.ATTENTION,
        C.QUERY_PRE_ROPE,
        C.KEY_PRE_ROPE,
        C.QUERY,
        C.KEY,
        C.VALUE,
        C.ATTENTION_SCORES,
        C.ATTENTION_PATTERN,
        C.HEAD_OUTPUT,
    }
)
OF_MLP = frozenset({C.MLP, C.MLP_GATE, C.MLP_HIDDEN, C.ROUTER, C.ROUTER_CHOICE, C.EXPERT_OUTPUT})
OUTPUT_PROJECTIONS = frozenset({"o_proj", "out_proj", "c_proj", "dense", "wo", "proj"})
DOWN_PROJECTIONS = frozenset({"down_proj", "c_proj", "fc2", "fc_out", "w2", "dense_4h_to_h"})
GATE_PROJECTIONS = frozenset({"gate_proj", "c_fc", "fc1", "fc_in", "w1", "dense_h_to_4h"})
QUERIES_KEYS_VALUES = {
    "q_proj": C.QUERY_PRE_ROPE,
    "k_proj": C.KEY_PRE_ROPE,
    "v_proj": C.VALUE,
}
FIRST_NORMS = frozenset({"input_layernorm", "ln_1", "ln1"})


def in_other_part(path: str, component: C) -> bool:
    """Whether a module, by the path in its block, is in another part than a component is."""
    part = _part_of(path)
    return part is not None and component not in part


def value_of_usual_module(path: str, is_input: bool) -> tuple[C, bool] | None:
    """What a module of this usual path takes or returns: a component, and whether it is its input.

    For the names that other architectures, or transformers, have for the same module.
    """
    part, words = _part_of(path), path.split(".")
    last = words[-1]
    if path in FIRST_NORMS:
        return C.LAYERNORM, is_input
    if part is None or len(words) > 2:
        return None
    whole = C.ATTENTION if part is OF_ATTENTION else C.MLP
    if len(words) == 1:
        return whole, is_input
    if part is OF_ATTENTION:
        if last in QUERIES_KEYS_VALUES:
            return (C.ATTENTION, True) if is_input else (QUERIES_KEYS_VALUES[last], False)
        projections, given = OUTPUT_PROJECTIONS, C.HEAD_OUTPUT
    else:
        if last in GATE_PROJECTIONS:
            return (C.MLP, True) if is_input else (C.MLP_GATE, False)
        projections, given = DOWN_PROJECTIONS, C.MLP_HIDDEN
    if last not in projections:
        return None
    return (given, False) if is_input else (whole, False)


def _part_of(path: str) -> frozenset[C] | None:
    first = path.split(".")[0].lower()
    if "norm" in first or first.startswith("ln"):
        return None
    if any(word in first for word in ATTENTION_WORDS):
        return OF_ATTENTION
    return OF_MLP if any(word in first for word in MLP_WORDS) else None
