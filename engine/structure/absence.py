"""Why a model has no value for a component, in words for whoever asks for it."""

import mlx.nn as nn

from engine.components import NEURONS, PER_HEAD
from engine.components import ComponentType as C
from engine.structure.layer_map import KERNEL
from engine.structure.stream import is_mlp
from engine.structure.trace import Event, Trace

NO_ROTATION = "attention rotates none of its own here"
NO_EXPERTS = "the layer has no mixture of experts that run together"
REASONS = {
    C.QUERY_PRE_ROPE: NO_ROTATION,
    C.KEY_PRE_ROPE: NO_ROTATION,
    C.RESIDUAL: "the block passes on several streams, not one [batch, seq, hidden]",
    C.RESIDUAL_MID: "no part of the block reads the stream between attention and mlp",
    C.LAYERNORM: "there is no norm between the residual stream and attention",
    C.ATTENTION: "the block has neither attention nor another mixer",
    C.MLP: "the block has no mlp",
    C.MLP_GATE: "the block has no mlp",
    C.MLP_HIDDEN: "the block has no mlp",
    C.ROUTER: "what the experts return is not weighted",
    C.ROUTER_CHOICE: NO_EXPERTS,
    C.EXPERT_OUTPUT: NO_EXPERTS,
    C.EMBEDDING: "no token embedding was found",
    C.FINAL_NORM: "there is no norm between the last block and the logits",
    C.LOGITS: "the model returns no logits",
}


def reason_absent(
    component: C, layer: int | None, present: set[C], blocks: list[nn.Module], trace: Trace
) -> str:
    """The reason why a layer (None: the whole model), which has those `present`, has no other."""
    if layer is not None and not trace.calls(blocks[layer]):
        return "the model weaves the parts of its layers together in a function of its own"
    if component in PER_HEAD and C.QUERY not in present:
        assert layer is not None, f"{component} is of a layer"
        block = blocks[layer]
        events = trace.within(trace.calls(block)[0])
        mixer = _mixer(block, events)
        if any(event.site is not None and KERNEL in event.source.operation for event in events):
            return f"{mixer} gathers keys for each query apart: there is no one row of keys"
        return f"{mixer} has no softmax attention"
    if component in NEURONS and C.MLP in present:
        assert layer is not None, f"{component} is of a layer"
        return _reason_without_neurons(trace.within(trace.calls(blocks[layer])[0]))
    if component is C.ROUTER and C.ROUTER_CHOICE not in present:
        return NO_EXPERTS
    return REASONS[component]


def _reason_without_neurons(events: list[Event]) -> str:
    calls = [event for event in events if event.module is not None and is_mlp(event)]
    inner = [e for e in events if e.module is not None and any(map(e.is_within, calls))]
    if any(event.inputs and event.inputs[0].ndim == 1 for event in inner):
        return "the layer's experts run one after another, each on one token"
    return "the mlp has no activation function between two projections, and so no neurons"


def _mixer(block: nn.Module, events: list[Event]) -> str:
    parts = [e.module for e in events if e.module is not None and e.owner is block]
    return type(next((part for part in parts if part.children()), block)).__name__
