"""What changes when features are set to other activations: as the graph predicts, and in the model.

With attention patterns, norms and all other features kept, what a target changes by is the sum of
direct effects, which the graph tells: an ablated feature takes its edges away. Without anything
kept, the model itself answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.errors import InvalidRequestError
from engine.graphs.attribution import centred_unembedding
from engine.graphs.frozen import FINAL_NORM
from engine.graphs.replacement import Replacement
from engine.runs.finite import are_finite, not_finite
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor


@dataclass(frozen=True)
class FeatureAt:
    """A feature of a layer at a position."""

    layer: int
    position: int
    index: int


@dataclass(frozen=True)
class Outcome:
    """A feature's activation, or a logit's difference from the mean of all before any cap.

    `before` in the prompt's own pass; `predicted` with attention patterns, norms and all other
    features kept, of a feature without its activation function; `measured` in the model.
    `probability` is a logit's before, and `probability_measured` in the model.
    """

    before: float
    predicted: float
    measured: float
    probability: float | None = None
    probability_measured: float | None = None


@dataclass(frozen=True)
class Outcomes:
    """What became of some features and logits, in the order in which they were given."""

    features: list[Outcome]
    logits: list[Outcome]


def intervened(
    replacement: Replacement,
    activations: Mapping[FeatureAt, float],
    features: Sequence[FeatureAt],
    tokens: Sequence[int],
) -> Outcomes:
    """What becomes of some active `features`, and of the logits of `tokens`, when features are set
    to other `activations`: 0 ablates one.

    Raises InvalidRequestError for a feature that does not exist, is not active where it has to be,
    or is where transcoders are not used; NotFiniteError.
    """
    frozen = replacement.frozen
    added = _added(replacement, activations)
    written = {point: frozen.values[point][None] for point in frozen.writes}
    for point, (read, matrix) in replacement.skips.items():
        written[point] = written[point] - frozen.values[read] @ matrix.T
    for point, change in added.items():
        written[point] = written[point] + change
    predicted = {point: value[0] for point, value in frozen.run(written).items()}
    measured, logits = _measured(replacement, added)
    directions, bias = centred_unembedding(replacement.kit, tokens)
    before_probabilities, after = (_probabilities(each) for each in (frozen.logits, logits))
    ends = [
        directions @ values[FINAL_NORM][-1] + bias
        for values in (frozen.values, predicted, measured)
    ]
    columns = np.array(mx.stack(ends), np.float64)
    return Outcomes(
        [_of_feature(replacement, each, predicted, measured) for each in features],
        [
            Outcome(
                float(before),
                float(linear),
                float(found),
                float(before_probabilities[token]),
                float(after[token]),
            )
            for token, (before, linear, found) in zip(tokens, columns.T, strict=True)
        ],
    )


def _added(
    replacement: Replacement, activations: Mapping[FeatureAt, float]
) -> dict[Point, mx.array]:
    """What changed features write beyond what they wrote, ``[seq, hidden]`` by point."""
    added: dict[Point, mx.array] = {}
    for feature, activation in activations.items():
        layer = replacement.layer(feature.layer)
        replacement.check_feature(feature.layer, feature.position, feature.index)
        number = replacement.number(feature.layer, feature.position, feature.index)
        before = 0.0 if number is None else float(replacement.active.activations[number])
        rows = layer.written(mx.array([feature.index]))
        for point, row in zip(layer.writes, rows, strict=True):
            change = added.get(point, mx.zeros(replacement.frozen.values[point].shape))
            added[point] = change.at[feature.position].add((activation - before) * row[0])
    return added


def _measured(
    replacement: Replacement, added: Mapping[Point, mx.array]
) -> tuple[dict[Point, mx.array], np.ndarray]:
    """What the model itself has at the points that are read, and its logits."""
    kit, frozen = replacement.kit, replacement.frozen
    seen: dict[Point, mx.array] = {}

    def keep(point: Point) -> Visitor:
        def visit(value: mx.array, span: Span) -> mx.array:
            seen[point] = value[0].astype(mx.float32)
            return value

        return visit

    def add(change: mx.array) -> Visitor:
        return lambda value, span: value + change.astype(value.dtype)

    visitors = {
        **{point: keep(point) for point in frozen.reads},
        **{point: add(change) for point, change in added.items()},
    }
    with observed(kit.structure, visitors):
        logits = kit.structure.logits(mx.array([frozen.tokens]))[0, -1].astype(mx.float32)
    mx.eval(logits, list(seen.values()))
    found = np.array(logits)
    if not are_finite(found):
        raise not_finite(kit, [frozen.tokens], visitors)
    return seen, found


def _of_feature(
    replacement: Replacement,
    feature: FeatureAt,
    predicted: Mapping[Point, mx.array],
    measured: Mapping[Point, mx.array],
) -> Outcome:
    at, index = feature.position, feature.index
    number = replacement.number(feature.layer, at, index)
    if number is None:
        raise InvalidRequestError(
            f"feature {index} of layer {feature.layer} is not active at position {at}: it has no "
            "linear effect on anything"
        )
    layer = replacement.layer(feature.layer)
    before = float(replacement.active.activations[number])
    moved = predicted[layer.reads][at] - replacement.frozen.values[layer.reads][at]
    change = (layer.directions(mx.array([index]))[0] * moved).sum()
    active = layer.encode(measured[layer.reads][at][None])[0, index]
    return Outcome(before, before + float(np.array(change)), float(np.array(active)))


def _probabilities(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits.astype(np.float64) - logits.max())
    return exponents / exponents.sum()
