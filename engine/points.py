"""Hook points: the places in a forward pass where a value can be seen, or exchanged."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import mlx.core as mx

from engine.components import PER_HEAD, ComponentType


class Point(NamedTuple):
    """One place in the model: a component of a layer (None: of the whole model), out or in."""

    layer: int | None
    component: ComponentType
    is_input: bool = False


class Span(NamedTuple):
    """The positions of the sequence that a value covers: `first`, and how many."""

    first: int
    length: int


Visitor = Callable[[mx.array, Span], mx.array]
"""Sees the value at a point and answers the value that the model goes on with."""

Visitors = Mapping[Point, Visitor]


def sequence_axis(component: ComponentType) -> int:
    """The axis of a component's value that counts positions."""
    return 2 if component in PER_HEAD else 1
