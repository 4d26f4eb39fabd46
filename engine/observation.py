"""Passes of a model under observation: the roles that the visitors need, and where a pass is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import mlx.core as mx
import mlx.nn as nn

from engine.points import Span, Visitors
from engine.taps import Role, Scope, tapped

if TYPE_CHECKING:
    from engine.structure import Structure


class Observer(Protocol):
    """Hears when a pass begins and ends."""

    def begin_pass(self, span: Span) -> None: ...

    def end_pass(self) -> None: ...


class _Unheard:
    def begin_pass(self, span: Span) -> None:
        pass

    def end_pass(self) -> None:
        pass


@contextmanager
def observed(
    structure: "Structure", visitors: Visitors, observer: Observer | None = None
) -> Iterator[None]:
    """Visit this thread's passes of a model at the points of `visitors`; taps are removed after.

    Only modules that have a visitor are tapped.
    """
    observer = observer or _Unheard()
    roles: dict[int, Role] = {}
    modules = [structure.model]
    whole: Role | None = None
    for module, role in structure.roles:
        if module is structure.model:
            whole = role
        elif not role.points.isdisjoint(visitors):
            roles[id(module)] = role
            modules.append(module)
    roles[id(structure.model)] = _WholeModel(whole, observer)
    with tapped(modules, Scope(roles, visitors)):
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
        result: mx.array = self.role.call(scope, forward, module, args, kwargs)
        self.observer.end_pass()
        return result

    def operation(self, *args):
        return self.role.operation(*args)


def tokens_in(cache: list | None) -> int:
    """How many tokens a model's caches have seen."""
    for entry in cache or ():
        for part in getattr(entry, "caches", (entry,)):
            if isinstance(getattr(part, "offset", None), int):
                return part.offset
    return 0
