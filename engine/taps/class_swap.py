"""Taps: forward passes observed by swapping the classes of modules, never by patching instances.

MLX looks `__call__` up on the type. While taps are in place, each module of interest has a
generated subclass of its own class, whose methods consult the scope of their thread and go
straight through when there is none.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any, Protocol

import mlx.core as mx
import mlx.nn as nn

from engine.taps.instrument import instrumented
from engine.taps.points import Point, Span, Visitors, canonical, restored, sequence_axis
from engine.taps.shares import Share, taken_whole


class Role(Protocol):
    """What a module does in a pass that is observed: it runs in place of the module's call."""

    def call(self, scope: "Scope", forward, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        """Run ``forward(module, *args, **kwargs)``, visiting points on the way."""

    def operation(self, scope: "Scope", site: int, function, args: tuple, kwargs: dict) -> Any:
        """Run one operation of the module's own code."""


class Scope:
    """What one thread observes: its visitors, roles of modules, the pass that runs now.

    Visitors see values in their canonical shapes and may replace them; values of which several
    ranks have `shares` they see whole. Values at the points of `marks` are then kept in `values`,
    as the model has them, this rank's share alone, and the marks of each in `seen`.

    Most modules have no role but marks, in `answers`: what they return is kept, be it an array or
    a tuple that begins with one. This runs for each block of each token. Between two tokens MLX's
    work replaces what the processor's caches hold, so that an object costs more to be touched than
    to be worked on: nothing else is looked at.

    Of the modules of `inside`, by their ids, each operation is observed, of others the call only.

    `cached_layer` is the layer whose new keys and values were seen entering `cache`, `choice`
    what a router chose; both are set for the operation that comes next. `row_places` are the places
    of the rows that the chosen experts sorted, None if they sort none. `unrotated` is the part of a
    query that is not rotated, `rotated_keys` the parts of keys that are, where attention keeps them
    apart. `caches` are the keys that caches returned in this pass, each with its cache, for layers
    that share them.
    """

    def __init__(
        self,
        visitors: Visitors,
        marks: Mapping[Point, list[Any]],
        shares: Mapping[Point, Share],
    ):
        self.visitors = visitors
        self.marks = marks
        self.shares = shares
        self.answers: dict[int, list[Any]] = {}
        self.roles: dict[int, Role] = {}
        self.inside: set[int] = set()
        self.frames: list[Role] = []
        self.begin(Span(0, 0), 0)

    def begin(self, span: Span, batch: int) -> None:
        """Forget the pass before: one over `span` begins."""
        self.span = span
        self.batch = batch
        self.seen: list[list[Any]] = []
        self.values: list[mx.array] = []
        self.cached_layer: int | None = None
        self.cache: Any = None
        self.choice: mx.array | None = None
        self.row_places: mx.array | None = None
        self.unrotated: mx.array | None = None
        self.rotated_keys: mx.array | None = None
        self.caches: list[tuple[mx.array, Any]] = []

    def wants(self, point: Point) -> bool:
        """Whether anybody looks at a point."""
        return point in self.marks or point in self.visitors

    def marks_at(self, points: Iterable[Point]) -> list[Any]:
        """The marks of several points together."""
        return [mark for point in points for mark in self.marks[point]]

    def visit(self, point: Point, value: mx.array) -> mx.array:
        """Pass a value through a point; returns the value to go on with."""
        if point in self.visitors:
            shown = canonical(value, sequence_axis(point), self.batch, self.span.length)
            share = self.shares.get(point)
            whole = taken_whole(shown, share)
            answer = self.visitors[point](whole, self.span)
            if answer is not whole:
                value = restored(share.own(answer) if share else answer, shown, value)
        if point in self.marks:
            self.seen.append(self.marks[point])
            self.values.append(value)
        return value

    def call(self, role: Role, forward, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        """Run a role in a module whose operations report to it."""
        self.frames.append(role)
        try:
            return role.call(self, forward, module, args, kwargs)
        finally:
            self.frames.pop()


class _Thread(threading.local):
    scope: Scope | None = None


_thread = _Thread()
_lock = threading.Lock()
_in_place: list["Taps"] = []
_plain: dict[type, type] = {}


class Taps:
    """The classes of some modules: while any taps are in place, those of all of theirs are swapped.

    Threads may have taps in the same modules; a module keeps its own until the last are removed.
    """

    def __init__(self, modules: Iterable[nn.Module]):
        self._modules = list(modules)
        self._plain = [_plain.get(type(module), type(module)) for module in self._modules]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The classes are put back on every way out."""
        with _lock:
            _in_place.append(self)
            for module, cls in zip(self._modules, self._plain, strict=True):
                _set_class(module, tapped_class(cls))
        try:
            yield
        finally:
            with _lock:
                _in_place.remove(self)
                others = {id(module) for taps in _in_place for module in taps._modules}
                for module, cls in zip(self._modules, self._plain, strict=True):
                    if id(module) not in others:
                        _set_class(module, cls)


def _set_class(module: nn.Module, cls: type) -> None:
    object.__setattr__(module, "__class__", cls)  # past the module's own, which is slow


def current_scope() -> Scope | None:
    """What this thread observes now."""
    return _thread.scope


@contextmanager
def observing(scope: Scope) -> Iterator[None]:
    """Observe this thread's forward passes, and no other thread's."""
    if current_scope() is not None:
        raise RuntimeError("this thread observes forward passes already")
    _thread.scope = scope
    try:
        yield
    finally:
        _thread.scope = None


@contextmanager
def unobserved() -> Iterator[None]:
    """Set aside what this thread observes: other work runs in the middle of a pass."""
    scope, _thread.scope = _thread.scope, None
    try:
        yield
    finally:
        _thread.scope = scope


@cache
def tapped_class(cls: type) -> type:
    """The subclass of `cls` that consults the thread's scope."""
    methods = _instrumented_methods(cls)
    plain = cls.__call__
    forward = methods.get("__call__", plain)

    def __call__(self, *args, **kwargs):  # noqa: N807
        scope = _thread.scope
        if scope is None:
            return plain(self, *args, **kwargs)
        marks = scope.answers.get(id(self))
        if marks is not None:
            answer = plain(self, *args, **kwargs)
            scope.seen.append(marks)
            scope.values.append(answer[0] if isinstance(answer, tuple) else answer)
            return answer
        role = scope.roles.get(id(self))
        if role is None:
            return plain(self, *args, **kwargs)
        if id(self) in scope.inside:
            return scope.call(role, forward, self, args, kwargs)
        return role.call(scope, plain, self, args, kwargs)

    namespace = {**methods, "__call__": __call__, "__module__": cls.__module__}
    swapped = type(cls.__name__, (cls,), namespace)
    _plain[swapped] = cls
    return swapped


def _report(site: int, function, /, *args, **kwargs) -> Any:
    scope = current_scope()
    if scope is None or not scope.frames:
        return function(*args, **kwargs)
    return scope.frames[-1].operation(scope, site, function, args, kwargs)


def _instrumented_methods(cls: type) -> dict[str, FunctionType]:
    """Copies of `__call__` and of what it calls on itself; MLX's own layers need none."""
    methods: dict[str, FunctionType] = {}
    wanted = ["__call__"]
    while wanted:
        name = wanted.pop()
        method = getattr(cls, name, None)
        if name in methods or not isinstance(method, FunctionType):
            continue
        if not method.__module__.startswith("mlx."):
            methods[name] = instrumented(method, _report)
            wanted.extend(method.__code__.co_names)
    return methods
