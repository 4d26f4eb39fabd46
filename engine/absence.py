"""Why a model has no value for a component, in words for whoever asks for it."""

import mlx.nn as nn

from engine.components import PER_HEAD
from engine.components import ComponentType as C
from engine.trace import Event, Trace

REASONS = {
    C.QUERY_PRE_ROPE: "its attention rotates no query outside the kernel",
    C.KEY_PRE_ROPE: "its attention rotates no key outside the kernel",
    C.RESIDUAL: "the block passes on several streams, not one [batch, seq, hidden]",
    C.RESIDUAL_MID: "no part of the block reads the stream between attention and mlp",
    C.LAYERNORM: "no norm stands between the residual stream and attention",
    C.ATTENTION: "the block has neither attention nor another mixer",
    C.MLP: "the block has no mlp",
    C.ROUTER: "the layer has no mixture of experts with a weight for each",
    C.ROUTER_CHOICE: "the layer has no mixture of experts that run together",
    C.EXPERT_OUTPUT: "the layer has no mixture of experts that run together",
    C.EMBEDDING: "no token embedding was found",
    C.FINAL_NORM: "no norm stands between the last block and the logits",
    C.LOGITS: "the model answers no logits",
}


def reason_absent(component: C, layer: int | None, blocks: list[nn.Module], trace: Trace) -> str:
    """The reason why a layer (None: the whole model) has no such component."""
    if component in PER_HEAD and component not in (C.QUERY_PRE_ROPE, C.KEY_PRE_ROPE):
        return f"{_mixer(blocks[layer], trace)} has no softmax attention"
    return REASONS[component]


def _mixer(block: nn.Module, trace: Trace) -> str:
    calls = trace.calls(block)
    children: list[Event] = [
        event
        for event in (trace.within(calls[0]) if calls else ())
        if event.module is not None and event.owner is block and event.module.children()
    ]
    return type(children[0].module if children else block).__name__
