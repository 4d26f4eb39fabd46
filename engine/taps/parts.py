"""Latent attention of one token whose query and key are in two parts, one of them rotated.

In a longer pass the parts are joined before the attention kernel sees them. For one token the
kernel sees the latent, and the scores of the rotated parts come to it as a mask. In both, the hook
points are the joined query and key.
"""

from dataclasses import dataclass
from typing import Any, cast

import mlx.core as mx

from engine.components import ComponentType as C
from engine.taps.class_swap import Scope
from engine.taps.points import Point


@dataclass(eq=False)
class UnrotatedQuery:
    """The operation that returns the part of the query that is not rotated."""

    layer: int

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, C.QUERY)]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        scope.unrotated = function(*args, **kwargs)
        return scope.unrotated


@dataclass(eq=False)
class RotatedQuery:
    """The operation whose `operand` is the rotated part of the query: both parts are there."""

    layer: int
    operand: int

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, C.QUERY)]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        (point,) = self.points
        if scope.wants(point):
            unrotated, rotated = cast(mx.array, scope.unrotated), args[self.operand]
            joined = mx.concatenate([unrotated, rotated], axis=-1)
            answer = scope.visit(point, joined)
            if answer is not joined:
                scope.unrotated, rotated = mx.split(answer, [unrotated.shape[-1]], axis=-1)
                args = (*args[: self.operand], rotated, *args[self.operand + 1 :])
        return function(*args, **kwargs)


@dataclass(eq=False)
class QueryOfLatent:
    """The projection of the query's unrotated part to the latent, which takes it as it was left."""

    layer: int

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, C.QUERY)]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        return function(scope.unrotated, *args[1:], **kwargs)


@dataclass(eq=False)
class RotatedKeys:
    """The product of the rotated parts: queries, and keys transposed."""

    layer: int

    @property
    def points(self) -> list[Point]:
        return [Point(self.layer, C.KEY)]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        scope.rotated_keys = args[1].swapaxes(-1, -2)
        return function(*args, **kwargs)
