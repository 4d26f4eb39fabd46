"""Two continuations of one forward pass, compared layer by layer and at the end."""

from dataclasses import dataclass
from typing import cast

import mlx.core as mx
import numpy as np

from engine.analysis.debugger import Changes, ForwardDebugger, is_stream
from engine.analysis.logit_lens import unembedded
from engine.errors import NotFiniteError
from engine.machine.gaps import gaps_explained
from engine.taps.points import Point


@dataclass(frozen=True)
class ForkedLayer:
    """How far two passes are apart behind a layer.

    `distance` is the length of the difference of their residual streams over that of the first,
    at all positions; `last_distance` at the last. `lens` are the logits that the logit lens reads
    there from each, ``[2, vocab]``, and `divergence` that of their distributions.
    """

    layer: int
    distance: float
    last_distance: float
    lens: np.ndarray
    divergence: float


@dataclass(frozen=True)
class Fork:
    """Two continuations: the logits of each at the last position, ``[2, vocab]``, the divergence
    of their distributions, and the layers, from the first that may differ."""

    logits: np.ndarray
    divergence: float
    layers: list[ForkedLayer]


@gaps_explained()
def fork(debugger: ForwardDebugger, value: np.ndarray | None) -> Fork:
    """Continue a pass as it is and with another value where it is stopped, to the end; without a
    value the first is the model's own pass, and the second that with what was changed.

    Divergences are those of Kullback and Leibler, of the second distribution from the first, in
    nats. Neither pass moves the debugger. Raises InvalidRequestError without anything to compare,
    what `ForwardDebugger.change` and
    `check_room` raise, and NotFiniteError.
    """
    since, first, second = debugger.alternative(value)
    debugger.check_room(passes=2)
    passes = [_continued(debugger, since, changes) for changes in (first, second)]
    logits = np.stack([logits for logits, _ in passes])
    if not np.isfinite(logits.max(axis=-1)).all():
        raise NotFiniteError("what one of the two passes computes is NaN or infinite")
    (_, here), (_, there) = passes
    layers = [point.in_layer for point, _ in here]
    streams = [(a, b) for (_, a), (_, b) in zip(here, there, strict=True)]
    rows = [row[:, -1:] for pair in streams for row in pair]
    read = np.empty((0, logits.shape[-1]), np.float32)
    if rows:
        read = unembedded(debugger.kit, debugger.tokens, mx.concatenate(rows, axis=1))
    return Fork(
        logits,
        divergence(*logits),
        [
            _forked(layer, a, b, read[2 * index : 2 * index + 2])
            for index, (layer, (a, b)) in enumerate(zip(layers, streams, strict=True))
        ],
    )


def divergence(first: np.ndarray, second: np.ndarray) -> float:
    """The Kullback-Leibler divergence of the distribution of some logits from that of others, in
    nats: the sum of p log(p/q), where p are the probabilities of the first."""
    p, q = (_log_probabilities(logits) for logits in (first, second))
    likely = np.isfinite(p)
    return max(0.0, float(np.sum(np.exp(p[likely]) * (p[likely] - q[likely]))))


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def _continued(
    debugger: ForwardDebugger, since: int, changes: Changes
) -> tuple[np.ndarray, list[tuple[Point, mx.array]]]:
    """The logits of the last position, and the streams that layers return from `since` on."""
    streams: list[tuple[Point, mx.array]] = []

    def look(index: int, point: Point, value: mx.array) -> mx.array:
        if index >= since and is_stream(point) and point.layer is not None:
            streams.append((point, value))
            debugger.calculate(value)
        return value

    logits = debugger.run(debugger.stream_at(since), changes, look)[0, -1].astype(mx.float32)
    mx.eval(logits)
    return np.array(logits), streams


def _forked(layer: int, first: mx.array, second: mx.array, lens: np.ndarray) -> ForkedLayer:
    apart = _distance(first, second), _distance(first[:, -1], second[:, -1])
    return ForkedLayer(layer, *apart, lens, divergence(*lens))


def _distance(first: mx.array, second: mx.array) -> float:
    first, second = first.astype(mx.float32), second.astype(mx.float32)
    length = mx.linalg.norm(first.flatten())
    return float(cast(float, (mx.linalg.norm((second - first).flatten()) / length).item()))
