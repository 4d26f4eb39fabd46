"""What makes features sparse: from pre-activations ``[..., n_features]`` to features alike."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import mlx.core as mx


class Activation(Protocol):
    """The function that an encoder ends with.

    `name` is the architecture's in SAELens. `is_local` says that a feature depends on its own
    pre-activation alone, so that one can be computed without the others.
    """

    name: ClassVar[str]
    is_local: ClassVar[bool]

    def __call__(self, pre: mx.array) -> mx.array: ...


@runtime_checkable
class LocalActivation(Activation, Protocol):
    """An activation that is local."""

    def of_features(self, indices: mx.array) -> "Activation":
        """The same for some features alone."""
        ...


@dataclass(frozen=True, eq=False)
class Relu:
    """max(pre, 0)."""

    name: ClassVar[str] = "standard"
    is_local: ClassVar[bool] = True

    def __call__(self, pre: mx.array) -> mx.array:
        return mx.maximum(pre, 0)

    def of_features(self, indices: mx.array) -> "Relu":
        return self


@dataclass(frozen=True, eq=False)
class JumpRelu:
    """pre where pre > `threshold` ``[n_features]``, else 0 (Rajamanoharan et al. 2024b).

    Gemma Scope and circuit-tracer keep a negative pre-activation above a negative threshold;
    SAELens does not: it is `rectified`.
    """

    threshold: mx.array
    rectified: bool

    name: ClassVar[str] = "jumprelu"
    is_local: ClassVar[bool] = True

    def __call__(self, pre: mx.array) -> mx.array:
        value = mx.maximum(pre, 0) if self.rectified else pre
        return mx.where(pre > self.threshold, value, 0)

    def of_features(self, indices: mx.array) -> "JumpRelu":
        return JumpRelu(self.threshold[indices], self.rectified)


@dataclass(frozen=True, eq=False)
class Gated:
    """Features that are on where a gate is, as large as a scaled and shifted copy of it says.

    From the gate's product without its bias, ``x @ W_enc``: on where it is above
    ``-gate_bias``, then as large as ``max(exp(log_scale) * product + magnitude_bias, 0)``
    (Rajamanoharan et al. 2024a).
    """

    gate_bias: mx.array
    log_scale: mx.array
    magnitude_bias: mx.array

    name: ClassVar[str] = "gated"
    is_local: ClassVar[bool] = True

    def __call__(self, pre: mx.array) -> mx.array:
        magnitude = mx.maximum(pre * mx.exp(self.log_scale) + self.magnitude_bias, 0)
        return mx.where(pre + self.gate_bias > 0, magnitude, 0)

    def of_features(self, indices: mx.array) -> "Gated":
        return Gated(self.gate_bias[indices], self.log_scale[indices], self.magnitude_bias[indices])


@dataclass(frozen=True, eq=False)
class TopK:
    """The `k` largest pre-activations, 0 elsewhere (Gao et al. 2024).

    `rectified` sets negative ones to 0 as well. `scale` ``[n_features]`` multiplies the
    pre-activations before the choice, as SAELens does by the norms of the decoder's rows.
    """

    k: int
    rectified: bool = True
    scale: mx.array | None = None

    name: ClassVar[str] = "topk"
    is_local: ClassVar[bool] = False

    def __call__(self, pre: mx.array) -> mx.array:
        if self.scale is not None:
            pre = pre * self.scale
        chosen = _largest(pre, self.k)
        values = mx.take_along_axis(pre, chosen, -1)
        return _scattered(pre, chosen, mx.maximum(values, 0) if self.rectified else values)


@dataclass(frozen=True, eq=False)
class AbsTopK:
    """The `k` pre-activations that are largest in magnitude, with their signs, 0 elsewhere."""

    k: int
    scale: mx.array | None = None

    name: ClassVar[str] = "abstopk"
    is_local: ClassVar[bool] = False

    def __call__(self, pre: mx.array) -> mx.array:
        if self.scale is not None:
            pre = pre * self.scale
        chosen = _largest(mx.abs(pre), self.k)
        return _scattered(pre, chosen, mx.take_along_axis(pre, chosen, -1))


@dataclass(frozen=True, eq=False)
class GroupMax:
    """The largest of each of `k` groups of neighbours, where it is positive, 0 elsewhere."""

    k: int

    name: ClassVar[str] = "groupmax"
    is_local: ClassVar[bool] = False

    def __call__(self, pre: mx.array) -> mx.array:
        groups = mx.maximum(pre, 0).reshape(*pre.shape[:-1], self.k, -1)
        chosen = mx.argmax(groups, axis=-1, keepdims=True)
        values = mx.take_along_axis(groups, chosen, -1)
        return _scattered(groups, chosen, values).reshape(pre.shape)


def _largest(values: mx.array, k: int) -> mx.array:
    """The indices of the `k` largest values on the last axis, in no order."""
    return mx.argpartition(-values, k - 1, axis=-1)[..., :k]


def _scattered(like: mx.array, indices: mx.array, values: mx.array) -> mx.array:
    return mx.put_along_axis(mx.zeros_like(like), indices, values, axis=-1)
