"""What modules and operations do in an observed pass: which hook points they pass through."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import mlx.core as mx
import mlx.nn as nn

from engine.components import NEURONS, ComponentType
from engine.taps.class_swap import Scope
from engine.taps.experts import by_expert, by_token
from engine.taps.points import Point


class Operation(Protocol):
    """Runs in place of one operation of a module's own code."""

    @property
    def points(self) -> Iterable[Point]:
        """The hook points that it visits."""

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        """Run ``function(*args, **kwargs)``, visiting points on the way."""


@dataclass(eq=False)
class Through:
    """An operation, some of whose operands and whose result are hook points."""

    operands: dict[int, Point] = field(default_factory=dict)
    result: Point | None = None

    @property
    def points(self) -> list[Point]:
        return [*self.operands.values(), *([self.result] if self.result else [])]

    def __call__(self, scope: Scope, function, args: tuple, kwargs: dict) -> Any:
        given: Sequence[Any] = args
        if self.operands:
            given = changed = list(args)
            for index, point in self.operands.items():
                changed[index] = scope.visit(point, changed[index])
        result = function(*given, **kwargs)
        return visited(scope, [self.result], result) if self.result else result


def through(operations: dict[int, Operation], site: int) -> Through:
    """The `Through` at a site, made there if it has no operation yet."""
    operation = operations.setdefault(site, Through())
    assert isinstance(operation, Through), "the site has an operation of another kind"
    return operation


@dataclass(eq=False, slots=True)
class ModuleRole:
    """A module, some of whose inputs, outputs and operations are hook points.

    The input is the positional `argument`, or the first array if all have names; the output is
    the first array returned. `choice` is the second argument of a module that runs experts, and a
    module that `runs_experts` as a part of it takes and returns rows of the chosen experts.
    """

    inputs: list[Point] = field(default_factory=list)
    outputs: list[Point] = field(default_factory=list)
    argument: int = 0
    choice: Point | None = None
    runs_experts: bool = False
    operations: dict[int, Operation] = field(default_factory=dict)

    @property
    def points(self) -> set[Point]:
        """All hook points for which a pass through this module is to be observed."""
        return {*self.inputs, *self.outputs, *self._of_choice, *self.points_inside}

    @property
    def points_inside(self) -> list[Point]:
        """The hook points of the module's operations."""
        return [point for operation in self.operations.values() for point in operation.points]

    def narrowed(self, scope: Scope) -> "ModuleRole":
        """As much of the role's own points as a scope wants."""
        return replace(
            self,
            inputs=[point for point in self.inputs if scope.wants(point)],
            outputs=[point for point in self.outputs if scope.wants(point)],
            choice=self.choice if any(map(scope.wants, self._of_choice)) else None,
        )

    def is_answer(self, scope: Scope) -> bool:
        """Whether a scope only keeps what the module returns, once the role is narrowed to it."""
        is_more = self.inputs or self.choice or self.runs_experts
        is_more = is_more or any(map(scope.wants, self.points_inside))
        return not is_more and scope.visitors.keys().isdisjoint(self.outputs)

    @property
    def _of_choice(self) -> set[Point]:
        """The points for which this call is to be observed: the router's weights are spread over
        the experts that are chosen, and rows of neurons are those of the chosen.
        """
        if self.choice is None:
            return set()
        layer = self.choice.layer
        return {self.choice, *(Point(layer, c) for c in (ComponentType.ROUTER, *NEURONS))}

    def call(self, scope: Scope, forward, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        given, named = list(args), dict(kwargs)
        if self.inputs:
            place: Any = given if given else named
            key = self.argument if given else first_array(named)
            place[key] = self._visited(scope, self.inputs, place[key])
        if self.choice:
            given[1] = scope.choice = scope.visit(self.choice, given[1])
            scope.row_places = None
        return self._visited(scope, self.outputs, forward(module, *given, **named))

    def _visited(self, scope: Scope, points: Iterable[Point], result: Any) -> Any:
        if not (self.runs_experts and points):
            return visited(scope, points, result)
        shown = by_token(scope, result)
        answer = visited(scope, points, shown)
        return result if answer is shown else by_expert(scope, answer, result)

    def operation(self, scope: Scope, site: int, function, args: tuple, kwargs: dict) -> Any:
        operation = self.operations.get(site)
        if operation is None:
            return function(*args, **kwargs)
        return operation(scope, function, args, kwargs)


def first_array(kwargs: dict) -> str:
    """The name of the first keyword argument that is an array."""
    return next(name for name, value in kwargs.items() if isinstance(value, mx.array))


def visited(scope: Scope, points: Iterable[Point], result: Any) -> Any:
    """A result, or a tuple that it is the first of, after visits."""
    if isinstance(result, tuple):
        return (visited(scope, points, result[0]), *result[1:])
    for point in points:
        result = scope.visit(point, result)
    return result


RoleOf = Callable[[nn.Module], ModuleRole]
"""Returns the role of a module, to be added to."""


def add_point(points: list[Point], point: Point) -> None:
    """Add a point to a role's, once."""
    if point not in points:
        points.append(point)
