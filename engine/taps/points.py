"""Hook points: the places in a forward pass where a value can be seen, or replaced."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import mlx.core as mx

from engine.components import PER_HEAD, ComponentType


class Point(NamedTuple):
    """One place in the model: a component of a layer (None: of the whole model), out or in."""

    layer: int | None
    component: ComponentType
    is_input: bool = False

    @property
    def in_layer(self) -> int:
        """The layer, of a point that is in one."""
        assert self.layer is not None, f"{self.component} is of the whole model"
        return self.layer

    @property
    def default_id(self) -> str:
        """The id of a hook on the component that is given none: ``layer_5_residual``, or
        ``embedding_output`` for a component of the whole model."""
        if self.layer is None:
            return f"{self.component}_output"
        return f"layer_{self.layer}_{self.component}"


class Span(NamedTuple):
    """The positions of the sequence that a forward pass covers: `first`, and how many."""

    first: int
    length: int


Visitor = Callable[[mx.array, Span], mx.array]
"""Sees the value at a point and returns the value that the model goes on with."""

Visitors = Mapping[Point, Visitor]


UNSEEN = {ComponentType.ATTENTION_SCORES: -mx.inf, ComponentType.ATTENTION_PATTERN: 0.0}
"""Components with one column a key, and the number where a position does not see the key."""


def sequence_axis(point: Point) -> int:
    """The axis of a point's value that counts positions."""
    return 2 if point.component in PER_HEAD and not point.is_input else 1


def canonical(value: mx.array, axis: int, batch: int, length: int) -> mx.array:
    """The value in the shape of `ComponentType`, whatever the model calculates with.

    `axis` is the one that is to count positions. Some attention groups its query heads by key
    head, ``[batch, kv_heads, group, seq, …]``, and some experts see all tokens of a batch in one
    row.
    """
    if axis == 2:
        return value.flatten(1, 2) if value.ndim == 5 else value
    shape = value.shape
    if shape[0] == batch * length and shape[:2] != (batch, length):
        return value.reshape(batch, length, *shape[1:])
    return value


def restored(answer: mx.array, shown: mx.array, value: mx.array) -> mx.array:
    """What was replaced for a `value` shown in its canonical shape, as the model needs it."""
    shaped = answer if shown is value else answer.reshape(value.shape)
    return shaped.astype(value.dtype)
