"""What is minimised: the share of the variance that is not explained, and penalties.

All arrays are in the units of training, in which the decoder's rows have norm 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import mlx.core as mx

from engine.features.training.settings import TrainingSettings

Parameters = dict[str, mx.array]
"""``W_enc [d_in, features]``, ``b_enc``, ``W_dec [features, d_out]``, ``b_dec``, and of *jumprelu*
``log_threshold [features]``."""

BANDWIDTH = 0.2
"""Pre-activations so near a threshold count in its gradient: half of it on each side."""


@dataclass(frozen=True)
class Outcome:
    """What a batch gave: `features` ``[batch, features]``, and `loss`, which is the sum of
    `unexplained`, `penalty` and `auxiliary`, the last two weighted."""

    loss: mx.array
    unexplained: mx.array
    penalty: mx.array
    auxiliary: mx.array
    features: mx.array


def outcome(
    parameters: Parameters,
    inputs: mx.array,
    outputs: mx.array,
    settings: TrainingSettings,
    *,
    dead: mx.array | None = None,
    strictness: float = 1.0,
) -> Outcome:
    """The loss over rows ``[batch, d_in]`` and what they are to become, ``[batch, d_out]``.

    `dead` ``[features]`` says which features are, None that none is; `strictness` multiplies the
    penalty for features that are on.
    """
    read = inputs if settings.is_transcoder else inputs - parameters["b_dec"]
    pre = read @ parameters["W_enc"] + parameters["b_enc"]
    features = ACTIVATIONS[settings.architecture](pre, parameters, settings)
    error = outputs - features @ parameters["W_dec"] - parameters["b_dec"]
    variance = mx.square(outputs - outputs.mean(axis=0)).sum()
    unexplained = mx.square(error).sum() / variance
    penalty = strictness * PENALTIES.get(settings.architecture, _nothing)(
        pre, features, parameters, settings
    )
    auxiliary = mx.array(0.0)
    if dead is not None and settings.auxiliary:
        auxiliary = settings.auxiliary * _auxiliary(error, pre, dead, parameters["W_dec"])
    return Outcome(unexplained + penalty + auxiliary, unexplained, penalty, auxiliary, features)


def _auxiliary(error: mx.array, pre: mx.array, dead: mx.array, decoder: mx.array) -> mx.array:
    """The share of what is left that dead features leave (Gao et al. 2024): of each position those
    that come nearest to being on, half as many as the width."""
    k = min(max(1, error.shape[-1] // 2), pre.shape[-1])
    error = mx.stop_gradient(error)
    candidates = mx.where(dead, pre, -mx.inf)
    chosen = mx.where(candidates >= _kth(candidates, k), mx.maximum(pre, 0) * dead, 0)
    left = mx.square(error - chosen @ decoder).sum()
    share = left / mx.maximum(mx.square(error - error.mean(axis=0)).sum(), 1e-12)
    return share * mx.minimum(dead.sum() / k, 1)


def _kth(values: mx.array, k: int) -> mx.array:
    """The k-th largest on the last axis, ``[…, 1]``, as a constant."""
    return mx.stop_gradient(mx.min(mx.topk(values, k, axis=-1), axis=-1, keepdims=True))


# --- which features are on -------------------------------------------------------------------


def _top_k(pre: mx.array, parameters: Parameters, settings: TrainingSettings) -> mx.array:
    return mx.where(pre >= _kth(pre, settings.k), mx.maximum(pre, 0), 0)


def _batch_top_k(pre: mx.array, parameters: Parameters, settings: TrainingSettings) -> mx.array:
    positive = mx.maximum(pre, 0)
    least = _kth(positive.reshape(-1), settings.k * len(pre))
    return mx.where(positive >= least, positive, 0)


def _above_threshold(pre: mx.array, parameters: Parameters, settings: TrainingSettings) -> mx.array:
    return mx.maximum(pre, 0) * _is_above(pre, mx.exp(parameters["log_threshold"]))


def _above_zero(pre: mx.array, parameters: Parameters, settings: TrainingSettings) -> mx.array:
    return mx.maximum(pre, 0)


def _is_above(pre: mx.array, threshold: mx.array) -> mx.array:
    """1 where ``[batch, features]`` are above ``[features]``, else 0."""
    return cast(mx.array, _step(pre, threshold))


@mx.custom_function
def _step(pre: mx.array, threshold: mx.array) -> mx.array:
    return (pre > threshold).astype(pre.dtype)


@_step.vjp
def _step_vjp(
    primals: tuple[mx.array, mx.array], cotangent: mx.array, output: mx.array
) -> tuple[mx.array, mx.array]:
    """The threshold's gradient, of pre-activations that lie near it: the expectation of the exact
    one over values that are spread evenly there. Pre-activations get none."""
    pre, threshold = primals
    near = mx.abs(pre - threshold) < BANDWIDTH / 2
    return mx.zeros_like(pre), -(cotangent * near).sum(axis=0) / BANDWIDTH


ACTIVATIONS: dict[str, Callable[[mx.array, Parameters, TrainingSettings], mx.array]] = {
    "topk": _top_k,
    "batchtopk": _batch_top_k,
    "transcoder": _batch_top_k,
    "jumprelu": _above_threshold,
    "standard": _above_zero,
}

# --- penalties for features that are on ------------------------------------------------------


def _nothing(
    pre: mx.array, features: mx.array, parameters: Parameters, settings: TrainingSettings
) -> mx.array:
    return mx.array(0.0)


def _sum_of_features(
    pre: mx.array, features: mx.array, parameters: Parameters, settings: TrainingSettings
) -> mx.array:
    """The sum of what they write, as a norm each, per unit of the input's width."""
    norms = mx.linalg.norm(parameters["W_dec"], axis=-1)
    written = (features * norms).sum(axis=-1).mean()
    return settings.sparsity * written / parameters["W_enc"].shape[0]


def _distance_from_k(
    pre: mx.array, features: mx.array, parameters: Parameters, settings: TrainingSettings
) -> mx.array:
    """How far the mean number of features is from k, as a share of k, squared."""
    count = _is_above(pre, mx.exp(parameters["log_threshold"])).sum(axis=-1).mean()
    return settings.sparsity * mx.square(count / settings.k - 1)


PENALTIES: dict[str, Callable[[mx.array, mx.array, Parameters, TrainingSettings], mx.array]] = {
    "standard": _sum_of_features,
    "jumprelu": _distance_from_k,
}
