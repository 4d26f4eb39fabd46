"""How an autoencoder scales what it reads, and its reconstruction back, as SAELens does."""

from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx


class Normalization(Protocol):
    """Scales values ``[..., d_in]`` before they are encoded, and what is decoded back."""

    def into(self, x: mx.array) -> mx.array: ...

    def out(self, decoded: mx.array, x: mx.array) -> mx.array: ...


@dataclass(frozen=True)
class LayerNorm:
    """To mean 0 and (unbiased) standard deviation 1, of each position."""

    def into(self, x: mx.array) -> mx.array:
        centred = x - x.mean(-1, keepdims=True)
        return centred / (self._deviation(x) + 1e-5)

    def out(self, decoded: mx.array, x: mx.array) -> mx.array:
        return decoded * self._deviation(x) + x.mean(-1, keepdims=True)

    @staticmethod
    def _deviation(x: mx.array) -> mx.array:
        return mx.std(x - x.mean(-1, keepdims=True), axis=-1, keepdims=True, ddof=1)


@dataclass(frozen=True)
class ConstantNorm:
    """To a norm of ``sqrt(d_in)``, of each position."""

    def into(self, x: mx.array) -> mx.array:
        return x * self._factor(x)

    def out(self, decoded: mx.array, x: mx.array) -> mx.array:
        return decoded / self._factor(x)

    @staticmethod
    def _factor(x: mx.array) -> mx.array:
        return x.shape[-1] ** 0.5 / mx.linalg.norm(x, axis=-1, keepdims=True)
