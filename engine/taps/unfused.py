"""Attention that an architecture computes itself: two matrix products and a softmax between.

Its hook points are the operands and results of those three operations.
"""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from engine.components import ComponentType as C
from engine.taps.class_swap import Scope
from engine.taps.key_order import KeyOrder
from engine.taps.points import Point


@dataclass(eq=False)
class ScoresProduct:
    """Queries times keys, transposed: shows the keys unless they were seen entering a cache."""

    layer: int

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, C.KEY)]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> mx.array:
        queries, transposed = args
        if scope.cached_layer != self.layer:
            keys = transposed.swapaxes(-1, -2)
            answer = scope.visit(Point(self.layer, C.KEY), keys)
            transposed = transposed if answer is keys else answer.swapaxes(-1, -2)
        return function(queries, transposed)


@dataclass(eq=False)
class PatternSoftmax:
    """The softmax of attention: scores in, pattern out."""

    layer: int

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, C.ATTENTION_SCORES), Point(self.layer, C.ATTENTION_PATTERN)]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> mx.array:
        scores_point, pattern_point = self.points
        scores = args[0]
        cache = scope.cache if scope.cached_layer == self.layer else None
        order = KeyOrder.of(cache, scores.shape[-1], sum(scope.span))
        if scope.wants(scores_point):
            masked = mx.where(scores <= mx.finfo(scores.dtype).min, -mx.inf, scores)
            scores = self._visit(scope, scores_point, masked, scores, order, -mx.inf)
        pattern = function(scores, *args[1:], **kwargs)
        if scope.wants(pattern_point):
            pattern = self._visit(scope, pattern_point, pattern, pattern, order, 0)
        return pattern

    def _visit(self, scope, point, value, original, order, fill) -> mx.array:
        shown = order.padded(order.arranged(value, axis=-1), fill)
        answer = scope.visit(point, shown)
        return original if answer is shown else order.disarranged(order.unpadded(answer), axis=-1)


@dataclass(eq=False)
class ValuesProduct:
    """Pattern times values: each head's output; shows the values unless a cache got them."""

    layer: int

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, C.VALUE), Point(self.layer, C.HEAD_OUTPUT)]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        value_point, output_point = self.points
        pattern, values = args
        if scope.cached_layer == self.layer:
            scope.cached_layer = None
        else:
            values = scope.visit(value_point, values)
        return scope.visit(output_point, function(pattern, values))
