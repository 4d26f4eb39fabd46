"""Mixture of experts: which experts the router chooses, with what weight, and what they return."""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.components import ComponentType as C
from engine.structure.trace import Event
from engine.taps.class_swap import Scope
from engine.taps.points import Point


@dataclass(eq=False)
class Weighting:
    """The operation that weights the experts' outputs, of which one operand is the weights.

    They are ``[…, chosen, 1]`` in a product, ``[…, chosen]`` as the argument of a function. As a
    hook point the weights are spread over all `experts`, 0 where not chosen. A choice with
    weight 0 means no expert, and stays so.
    """

    layer: int
    operand: int
    experts: int

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, C.ROUTER)]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        (point,) = self.points
        if not scope.wants(point):
            return function(*args, **kwargs)
        operand = args[self.operand]
        weights = operand.reshape(scope.choice.shape)
        is_chosen = scope.choice[..., None] == mx.arange(self.experts)
        shown = (weights[..., None] * is_chosen).sum(axis=-2)
        answer = scope.visit(point, shown)
        if answer is shown:
            return function(*args, **kwargs)
        chosen = mx.take_along_axis(answer, scope.choice, axis=-1) * (weights != 0)
        chosen = chosen.reshape(operand.shape)
        args = [chosen if i == self.operand else a for i, a in enumerate(args)]
        return function(*args, **kwargs)


def expert_calls(events: list[Event]) -> list[Event]:
    """The calls that are given tokens and integers, and return one vector for each integer."""
    return [event for event in events if event.module is not None and _runs_experts(event)]


def _runs_experts(event: Event) -> bool:
    if len(event.args) != 2 or not all(isinstance(arg, mx.array) for arg in event.args):
        return False
    tokens, choice = event.args
    if not mx.issubdtype(choice.dtype, mx.integer) or len(event.outputs) != 1:
        return False
    return event.outputs[0].shape == (*choice.shape, tokens.shape[-1])


def weighting(experts: Event, events: list[Event]) -> tuple[Event, int] | None:
    """The operation that weights the experts' outputs, and which of its operands the weights are.

    It is the first product after the experts with a weight for each choice, or the call of a
    compiled function, which cannot be looked into, that takes their outputs and such weights.
    """
    choice = experts.args[1].shape
    later = [event for event in events if event.site is not None and event.start > experts.end]
    products = [event for event in later if event.source.operation == "mul"]
    calls = [event for event in later if any(arg is experts.outputs[0] for arg in event.args)]
    for candidates, shape in ((products, (*choice, 1)), (calls, choice)):
        for event in candidates:
            for index, operand in enumerate(event.args):
                if isinstance(operand, mx.array) and operand.shape == shape:
                    return event, index
    return None


def expert_count(module: nn.Module) -> int:
    """How many experts a module contains: the first axis of each of its weights."""
    return next(weight.shape[0] for weight in _weights(module))


def _weights(module: nn.Module):
    for child in module.modules():
        if isinstance(child.get("weight"), mx.array):
            yield child["weight"]
