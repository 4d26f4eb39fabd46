"""Norms whose scale is kept from an earlier pass, which makes them linear.

A norm divides the residual stream by its size. With that size taken as a constant, what is left is
a multiplication by weights, for LayerNorm after the mean is subtracted (Ameisen et al. 2025,
transformer-circuits.pub/2025/attribution-graphs/methods.html). A norm's own code is run, in a copy
that gets MLX's functions from a `_Mathematics`, so that every architecture's norms are covered.
"""

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import mlx.core as mx
import mlx.nn as nn


class Scales:
    """The sizes by which a pass divides, kept in the order of the pass, and used again."""

    def __init__(self) -> None:
        self.kept: list[mx.array] = []
        self._next = 0
        self._is_kept = False

    def keep(self) -> None:
        """Use what was seen so far in every later pass; each begins with `rewind`."""
        self._is_kept = True

    def rewind(self) -> None:
        """A pass begins."""
        self._next = 0

    def __call__(self, calculate: Callable[[], mx.array]) -> mx.array:
        """The next size of this pass: calculated in the first, the same in all later ones."""
        if not self._is_kept:
            self.kept.append(calculate())
            return self.kept[-1]
        self._next += 1
        return self.kept[self._next - 1]


def norms_of(model: nn.Module) -> Iterator[nn.Module]:
    """The model's norms, by the names of their classes."""
    for module in model.modules():
        if "norm" in type(module).__name__.lower():
            yield module


def scaled_by(scales: Scales) -> Callable[..., Any]:
    """What a norm is computed by in place of its own code: the same, with these scales."""
    copies: dict[Any, FunctionType] = {}

    def compute(call: FunctionType, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if call not in copies:
            copies[call] = _copied(call, scales)
        return copies[call](module, *args, **kwargs)

    return compute


def _copied(function: FunctionType, scales: Scales) -> FunctionType:
    names = {**function.__globals__, "mx": _Mathematics(mx, _replacements(scales))}
    copy = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


class _Mathematics:
    """MLX's functions, some of them replaced, by their dotted names."""

    def __init__(self, module: Any, replaced: dict[str, Any], prefix: str = ""):
        self._module, self._replaced, self._prefix = module, replaced, prefix

    def __getattr__(self, name: str) -> Any:
        path = self._prefix + name
        if path in self._replaced:
            return self._replaced[path]
        found = getattr(self._module, name)
        if any(each.startswith(f"{path}.") for each in self._replaced):
            return _Mathematics(found, self._replaced, f"{path}.")
        return found


def _replacements(scales: Scales) -> dict[str, Callable[..., mx.array]]:
    def rms_norm(x: mx.array, weight: mx.array | None, eps: float, **_: Any) -> mx.array:
        wide = x.astype(mx.float32)
        scale = scales(lambda: mx.rsqrt(wide.square().mean(-1, keepdims=True) + eps))
        return _weighted(wide * scale, weight, None).astype(x.dtype)

    def layer_norm(
        x: mx.array, weight: mx.array | None, bias: mx.array | None, eps: float, **_: Any
    ) -> mx.array:
        wide = x.astype(mx.float32)
        centred = wide - wide.mean(-1, keepdims=True)
        scale = scales(lambda: mx.rsqrt(centred.square().mean(-1, keepdims=True) + eps))
        return _weighted(centred * scale, weight, bias).astype(x.dtype)

    def size(function: Callable[..., mx.array]) -> Callable[..., mx.array]:
        return lambda *args, **kwargs: scales(lambda: function(*args, **kwargs))

    return {
        "fast.rms_norm": rms_norm,
        "fast.layer_norm": layer_norm,
        "rsqrt": size(mx.rsqrt),
        "sqrt": size(mx.sqrt),
        "linalg.norm": size(mx.linalg.norm),
    }


def _weighted(value: mx.array, weight: mx.array | None, bias: mx.array | None) -> mx.array:
    value = value if weight is None else value * weight
    return value if bias is None else value + bias
