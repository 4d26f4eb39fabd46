"""Taps: forward passes observed by swapping the classes of modules, never by patching instances.

MLX looks `__call__` up on the type. While taps are in place, each module of interest has a
generated subclass of its own class, whose `__call__` consults the scope of its thread and calls
straight through when there is none.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FunctionType

import mlx.core as mx
import mlx.nn as nn

from engine import attention
from engine.points import Point, Span, Visitors

_thread = threading.local()
_lock = threading.Lock()
_installed: dict[int, int] = {}


class Scope:
    """What one thread observes: visitors by point, roles of modules, the pass that runs now."""

    def __init__(self, visitors: Visitors, roles: dict[int, "Role"], observer):
        self.visitors = visitors
        self.roles = roles
        self.observer = observer
        self.span = Span(0, 0)
        self.layers: list[int] = []

    def wants(self, point: Point) -> bool:
        return point in self.visitors

    def visit(self, point: Point, value: mx.array, span: Span | None = None) -> mx.array:
        visitor = self.visitors.get(point)
        return value if visitor is None else visitor(value, span or self.span)


class Role:
    """What a module is in the model: the points that its inputs and outputs are."""

    def __init__(self, inputs=(), outputs=(), attention_of: int | None = None):
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.attention_of = attention_of

    def call(self, scope: Scope, forward, module, args, kwargs):
        args = (_visited(scope, self.inputs, args[0]), *args[1:]) if args else args
        if self.attention_of is None:
            result = forward(module, *args, **kwargs)
        else:
            scope.layers.append(self.attention_of)
            try:
                result = forward(module, *args, **kwargs)
            finally:
                scope.layers.pop()
        if isinstance(result, tuple):
            return (_visited(scope, self.outputs, result[0]), *result[1:])
        return _visited(scope, self.outputs, result)


class WholeModel(Role):
    """The outermost module: its call is one forward pass."""

    def call(self, scope: Scope, forward, module, args, kwargs):
        cache = kwargs.get("cache", args[1] if len(args) > 1 else None)
        scope.span = Span(first_position(cache), args[0].shape[1])
        scope.observer.begin_pass(scope.span)
        result = super().call(scope, forward, module, args, kwargs)
        scope.observer.end_pass()
        return result


def first_position(cache) -> int:
    """How many tokens the caches have seen before this pass."""
    for entry in cache or ():
        offset = getattr(entry, "offset", None)
        if isinstance(offset, int):
            return offset
    return 0


def _visited(scope: Scope, points: tuple[Point, ...], value):
    for point in points:
        value = scope.visit(point, value)
    return value


@cache
def tapped_class(cls: type) -> type:
    """The subclass of `cls` that consults the thread's scope; its methods see tapped globals."""
    methods = {
        name: _rebound(method, attention.tapped_globals(method, current_scope))
        for name, method in vars(cls).items()
        if isinstance(method, FunctionType) and attention.attends(method)
    }
    forward = methods.get("__call__", cls.__call__)

    def __call__(self, *args, **kwargs):  # noqa: N807
        scope = current_scope()
        role = None if scope is None else scope.roles.get(id(self))
        if role is None:
            return forward(self, *args, **kwargs)
        return role.call(scope, forward, self, args, kwargs)

    return type(
        cls.__name__, (cls,), {**methods, "__call__": __call__, "__module__": cls.__module__}
    )


def _rebound(method: FunctionType, tapped: dict) -> FunctionType:
    copy = FunctionType(
        method.__code__,
        {**method.__globals__, **tapped},
        method.__name__,
        method.__defaults__,
        method.__closure__,
    )
    copy.__kwdefaults__ = method.__kwdefaults__
    return copy


def current_scope() -> Scope | None:
    """The scope of this thread, if it is inside `tapped`."""
    return getattr(_thread, "scope", None)


@contextmanager
def tapped(roles: list[tuple[nn.Module, Role]], visitors: Visitors, observer) -> Iterator[Scope]:
    """Observe this thread's forward passes; the classes are put back on every way out.

    Several threads may tap one model at a time: each sees its own passes only.
    """
    if current_scope() is not None:
        raise RuntimeError("this thread observes a forward pass already")
    modules = [module for module, _ in roles]
    scope = Scope(visitors, {id(module): role for module, role in roles}, observer)
    _swap_in(modules)
    _thread.scope = scope
    try:
        yield scope
    finally:
        _thread.scope = None
        _swap_out(modules)


def _swap_in(modules: list[nn.Module]) -> None:
    with _lock:
        for module in modules:
            holders = _installed.get(id(module), 0)
            if holders == 0:
                module.__class__ = tapped_class(type(module))
            _installed[id(module)] = holders + 1


def _swap_out(modules: list[nn.Module]) -> None:
    with _lock:
        for module in modules:
            _installed[id(module)] -= 1
            if _installed[id(module)] == 0:
                del _installed[id(module)]
                module.__class__ = type(module).__base__
