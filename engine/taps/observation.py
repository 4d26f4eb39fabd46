"""Passes of a model under observation: the roles that the visitors need, and where a pass is."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import mlx.core as mx
import mlx.nn as nn

from engine.taps.class_swap import Role, Scope, Taps, observing
from engine.taps.points import Span, Visitors
from engine.taps.roles import ModuleRole


class Tappable(Protocol):
    """A model, and its modules that have a role."""

    model: nn.Module
    roles: list[tuple[nn.Module, ModuleRole]]


class Observer(Protocol):
    """Hears when a pass begins and ends, and answers the pass' result."""

    def begin_pass(self, span: Span) -> None: ...

    def end_pass(self, result: mx.array) -> mx.array: ...


class _Unheard:
    def begin_pass(self, span: Span) -> None:
        pass

    def end_pass(self, result: mx.array) -> mx.array:
        return result


class Observation:
    """Visits to a model's passes at the points of `visitors`, prepared once and used often.

    Only modules that have a visitor are tapped.
    """

    def __init__(self, structure: Tappable, visitors: Visitors, observer: Observer | None = None):
        roles: dict[int, Role] = {}
        inside: set[int] = set()
        modules: list[nn.Module] = []
        for module, role in structure.roles:
            if any(not visitors.keys().isdisjoint(o.points) for o in role.operations.values()):
                inside.add(id(module))
            is_whole = module is structure.model
            if not is_whole and role.points.isdisjoint(visitors):
                continue
            narrow = role.narrowed(visitors)
            roles[id(module)] = _WholeModel(narrow, observer or _Unheard()) if is_whole else narrow
            modules.append(module)
        self._scope = Scope(roles, visitors, inside)
        self._taps = Taps(modules)

    def taps(self) -> AbstractContextManager[None]:
        """Taps in place, removed on every way out; they see nothing outside of `watching`."""
        return self._taps.in_place()

    def watching(self) -> AbstractContextManager[None]:
        """Visit this thread's passes."""
        return observing(self._scope)


@contextmanager
def observed(
    structure: Tappable, visitors: Visitors, observer: Observer | None = None
) -> Iterator[None]:
    """Visit this thread's passes of a model at the points of `visitors`."""
    observation = Observation(structure, visitors, observer)
    with observation.taps(), observation.watching():
        yield


class _WholeModel:
    """The role of the outermost module: its call is one pass."""

    def __init__(self, role: Role, observer: Observer):
        self.role = role
        self.observer = observer

    def call(self, scope: Scope, forward, module: nn.Module, args: tuple, kwargs: dict):
        tokens = args[0]
        cache = kwargs.get("cache", args[1] if len(args) > 1 else None)
        scope.batch = tokens.shape[0]
        scope.span = Span(tokens_in(cache), tokens.shape[1])
        scope.caches.clear()
        self.observer.begin_pass(scope.span)
        return self.observer.end_pass(self.role.call(scope, forward, module, args, kwargs))

    def operation(self, *args):
        return self.role.operation(*args)


def tokens_in(cache: list | None) -> int:
    """How many tokens a model's caches have seen."""
    for entry in cache or ():
        for part in getattr(entry, "caches", (entry,)):
            if isinstance(getattr(part, "offset", None), int):
                return part.offset
    return 0
