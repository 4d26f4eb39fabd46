"""Passes of a model under observation: the roles that somebody looks at, and where a pass is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Protocol

import mlx.core as mx
import mlx.nn as nn

from engine.taps.class_swap import Role, Scope, Taps, observing
from engine.taps.points import Point, Span, Visitors
from engine.taps.positions import count_tokens, tokens_in
from engine.taps.roles import ModuleRole
from engine.taps.shares import Share


class Tappable(Protocol):
    """A model, its modules that have a role, and the values of which ranks have shares."""

    model: nn.Module
    roles: list[tuple[nn.Module, ModuleRole]]
    shares: dict[Point, Share]


class Observer(Protocol):
    """Is called when a pass begins and ends, and returns the pass' result.

    At the end it gets the values at the points of `marks`, and of each the marks that it has.
    """

    @property
    def marks(self) -> Mapping[Point, list[Any]]: ...

    def begin_pass(self, span: Span, batch: int) -> None: ...

    def end_pass(
        self, result: mx.array, seen: list[list[Any]], values: list[mx.array]
    ) -> mx.array: ...


Computes = tuple[nn.Module, Callable[..., Any]]
"""A module, and what is called in place of its call: ``function(call, module, *args, **kwargs)``,
where ``call(module, *args, **kwargs)`` is its own."""


class _Unheard:
    marks: Mapping[Point, list[Any]] = {}

    def begin_pass(self, span: Span, batch: int) -> None:
        pass

    def end_pass(self, result: mx.array, seen: list[list[Any]], values: list[mx.array]) -> mx.array:
        return result


class Observation:
    """What happens at a model's points in its passes, prepared once and used often.

    `visitors` may replace values, `observer` gets them then. Only modules that either of them
    needs are tapped, and those that are computed in another way.
    """

    def __init__(
        self,
        structure: Tappable,
        visitors: Visitors,
        observer: Observer | None = None,
        computed: Sequence[Computes] = (),
    ):
        observer = observer or _Unheard()
        scope = Scope(visitors, observer.marks, structure.shares)
        modules: list[nn.Module] = []
        for module, role in structure.roles:
            is_whole = module is structure.model
            if not (is_whole or any(map(scope.wants, role.points))):
                continue
            modules.append(module)
            narrow = role.narrowed(scope)
            if is_whole:
                scope.roles[id(module)] = _WholeModel(narrow, observer)
            elif narrow.is_answer(scope):
                scope.answers[id(module)] = scope.marks_at(narrow.outputs)
            else:
                scope.roles[id(module)] = narrow
            if any(map(scope.wants, role.points_inside)):
                scope.inside.add(id(module))
        for module, function in computed:
            modules.append(module)
            scope.roles[id(module)] = _Computed(scope.roles.get(id(module)), function)
        self._scope = scope
        self._taps = Taps(modules)

    def taps(self) -> AbstractContextManager[None]:
        """Taps in place, removed on every way out; they see nothing outside of `watching`."""
        return self._taps.in_place()

    def begin_pass(self, span: Span, batch: int) -> None:
        """Say what is run next, where that is a part of the model by itself."""
        self._scope.begin(span, batch)

    def watching(self) -> AbstractContextManager[None]:
        """Visit this thread's passes."""
        return observing(self._scope)


@contextmanager
def observed(
    structure: Tappable,
    visitors: Visitors,
    observer: Observer | None = None,
    computed: Sequence[Computes] = (),
) -> Iterator[None]:
    """Visit this thread's passes of a model at the points of `visitors`."""
    observation = Observation(structure, visitors, observer, computed)
    with observation.taps(), observation.watching():
        yield


class _Computed:
    """The role of a module that is computed in another way; its hook points stay where they are."""

    def __init__(self, role: Role | None, function: Callable[..., Any]):
        self.role = role
        self.function = function

    def call(self, scope: Scope, forward, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        call = partial(self.function, forward)
        if self.role is None:
            return call(module, *args, **kwargs)
        return self.role.call(scope, call, module, args, kwargs)

    def operation(self, scope: Scope, site: int, function, args: tuple, kwargs: dict) -> Any:
        if self.role is None:
            return function(*args, **kwargs)
        return self.role.operation(scope, site, function, args, kwargs)


class _WholeModel:
    """The role of the outermost module: its call is one pass."""

    def __init__(self, role: Role, observer: Observer):
        self.role = role
        self.observer = observer

    def call(self, scope: Scope, forward, module: nn.Module, args: tuple, kwargs: dict):
        tokens = args[0]
        cache = kwargs.get("cache", args[1] if len(args) > 1 else None)
        batch, length = tokens.shape
        scope.begin(Span(tokens_in(cache), length), batch)
        self.observer.begin_pass(scope.span, scope.batch)
        result = self.role.call(scope, forward, module, args, kwargs)
        count_tokens(cache, sum(scope.span))
        seen, values = scope.seen, scope.values
        scope.seen, scope.values = [], []
        return self.observer.end_pass(result, seen, values)

    def operation(self, *args):
        return self.role.operation(*args)
