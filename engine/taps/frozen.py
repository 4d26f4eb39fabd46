"""Passes whose norms are linear: each divides by the size that its input has in this pass.

A norm's scale is then a constant for gradients. What it subtracts, where it centres, stays a
function of its input.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.taps.class_swap import Role, Scope, Taps, observing
from engine.taps.observation import Tappable
from engine.taps.points import Span, Visitors
from engine.taps.roles import ModuleRole


@contextmanager
def observed_with_frozen_norms(
    structure: Tappable, visitors: Visitors, positions: int
) -> Iterator[None]:
    """Visit this thread's passes, of one sequence of so many tokens, at points of `visitors`."""
    scope = Scope(visitors, {}, structure.shares)
    modules: dict[int, nn.Module] = {}
    for module, role in structure.roles:
        if any(map(scope.wants, role.points)):
            modules[id(module)] = module
            scope.roles[id(module)] = role
            if any(map(scope.wants, role.points_inside)):
                scope.inside.add(id(module))
    for _, module in structure.model.named_modules():
        if is_norm(module):
            modules[id(module)] = module
            scope.roles[id(module)] = _Frozen(scope.roles.get(id(module), ModuleRole()))
    scope.begin(Span(0, positions), 1)
    with Taps(modules.values()).in_place(), observing(scope):
        yield


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises, by its class's name."""
    name = type(module).__name__.lower()
    return "norm" in name or "rms" in name


@dataclass(eq=False)
class _Frozen:
    """A norm's role in which it is an affine map with the value that it has."""

    role: Role

    def call(self, scope: Scope, forward: Any, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        def frozen(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            result = forward(module, *args, **kwargs)
            is_alone = len(args) == 1 and not kwargs and isinstance(result, mx.array)
            if not is_alone or args[0].shape != result.shape:
                return result  # of several values: not a norm of one
            given = args[0].astype(mx.float32)
            shift = forward(module, mx.zeros_like(args[0])).astype(mx.float32)
            if isinstance(module, nn.LayerNorm):
                given = given - given.mean(-1, keepdims=True)
            ratio = (result.astype(mx.float32) - shift) / mx.where(given == 0, 1, given)
            linear = mx.stop_gradient(mx.where(given == 0, 0, ratio)) * given
            return (linear + mx.stop_gradient(shift)).astype(result.dtype)

        return self.role.call(scope, frozen, module, args, kwargs)

    def operation(self, *args: Any) -> Any:
        return self.role.operation(*args)
