"""How an autoencoder scales what it reads, and its reconstruction back, as SAELens does."""

from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx


class Normalization(Protocol):
    """Scales values ``[..., d_in]`` before they are encoded, and what is decoded back: times
    `scale`, plus `shift`, both ``[..., 1]`` and of the values."""

    def into(self, x: mx.array) -> mx.array: ...

    def scale(self, x: mx.array) -> mx.array: ...

    def shift(self, x: mx.array) -> mx.array: ...


@dataclass(frozen=True)
class LayerNorm:
    """To mean 0 and (unbiased) standard deviation 1, of each position."""

    def into(self, x: mx.array) -> mx.array:
        return (x - self.shift(x)) / (self.scale(x) + 1e-5)

    def scale(self, x: mx.array) -> mx.array:
        return mx.std(x - self.shift(x), axis=-1, keepdims=True, ddof=1)

    def shift(self, x: mx.array) -> mx.array:
        return x.mean(-1, keepdims=True)


@dataclass(frozen=True)
class ConstantNorm:
    """To a norm of ``sqrt(d_in)``, of each position."""

    def into(self, x: mx.array) -> mx.array:
        return x * (x.shape[-1] ** 0.5 / mx.linalg.norm(x, axis=-1, keepdims=True))

    def scale(self, x: mx.array) -> mx.array:
        return mx.linalg.norm(x, axis=-1, keepdims=True) / x.shape[-1] ** 0.5

    def shift(self, x: mx.array) -> mx.array:
        return mx.zeros_like(x[..., :1])
