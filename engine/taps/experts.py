"""What passes through experts that run together: rows of the chosen experts, sorted or not."""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from engine.components import ComponentType as C
from engine.taps.class_swap import Scope
from engine.taps.points import Point


@dataclass(eq=False)
class RowOrder:
    """The sorting of rows by their experts, which mlx-lm does where there are many.

    It returns the rows, their experts, and for each row in the order of tokens its place.
    """

    layer: int

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, C.MLP_GATE), Point(self.layer, C.MLP_HIDDEN)]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        result = function(*args, **kwargs)
        scope.row_places = result[2]
        return result


def by_token(scope: Scope, rows: mx.array) -> mx.array:
    """Rows of chosen experts as ``[batch, seq, chosen, …]``, in the order of the tokens."""
    if scope.row_places is not None:
        rows = rows[scope.row_places]
    return rows.reshape(scope.batch, scope.span.length, -1, rows.shape[-1])


def by_expert(scope: Scope, value: mx.array, rows: mx.array) -> mx.array:
    """The inverse of `by_token`: a value in the order and the shape of `rows`."""
    if scope.row_places is not None:
        value = value.flatten(0, 2)[mx.argsort(scope.row_places)]
    return value.reshape(rows.shape)
