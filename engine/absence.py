"""Why a model has no value for a component, in words for whoever asks for it."""

import mlx.nn as nn

from engine.components import PER_HEAD
from engine.components import ComponentType as C
from engine.layer_map import KERNEL
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
    if layer is not None and not trace.calls(blocks[layer]):
        return "the model weaves the parts of its layers together in a function of its own"
    if component in PER_HEAD and component not in (C.QUERY_PRE_ROPE, C.KEY_PRE_ROPE):
        events = trace.within(trace.calls(blocks[layer])[0])
        mixer = _mixer(blocks[layer], events)
        if any(event.site is not None and KERNEL in event.source.operation for event in events):
            return f"{mixer} gathers keys for each query apart: there is no one row of keys"
        return f"{mixer} has no softmax attention"
    return REASONS[component]


def _mixer(block: nn.Module, events: list[Event]) -> str:
    parts = [e.module for e in events if e.module is not None and e.owner is block]
    return type(next((part for part in parts if part.children()), block)).__name__
