"""From a prompt and transcoders to an attribution graph (Ameisen et al. 2025).

For each target, a feature or a logit, the direction that it reads is taken back through the frozen
pass, many targets in a batch. What arrives where a source writes, times what it writes, is the
direct effect of the source on the target. Where there are more active features than the graph is
to have, the next ones to be targets are those with the most influence on the logits so far.

Logits are taken as their difference from the mean of all, before any cap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.errors import InvalidRequestError, NotFiniteError, UnsupportedOperationError
from engine.graphs.frozen import FINAL_NORM
from engine.graphs.graph import AttributionGraph, Node, NodeKind, chosen_logits
from engine.graphs.influence import partial_influence, shares
from engine.graphs.replacement import Replacement, Written
from engine.graphs.transcoders import Transcoders
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.taps.points import Point

Progress = Callable[[int, int], None]
"""Called at the beginning and after each batch with how many targets of how many are done."""
MAX_LOGITS = 10
LOGIT_MASS = 0.95
MAX_FEATURE_NODES = 5000
BATCH = 64
"""Targets that are taken back through the model at once, at most; fewer for long prompts."""
POSITIONS = 1024
"""Positions of all targets of a batch, at most."""
BATCHES_BETWEEN = 4
"""Batches of targets between two rankings of the features by their influence."""
TOLERANCE = 1e-3
"""By how much of the largest value of a kind a sum of edges may miss it, in float32."""


@gaps_explained()
def attribution_graph(
    kit: ModelKit,
    tokens: Sequence[int],
    transcoders: Transcoders,
    *,
    max_logits: int = MAX_LOGITS,
    logit_mass: float = LOGIT_MASS,
    max_feature_nodes: int = MAX_FEATURE_NODES,
    skipped_positions: Sequence[int] = (0,),
    batch_size: int | None = None,
    progress: Progress = lambda done, total: None,
) -> AttributionGraph:
    """The graph of a prompt's last position.

    The logits are the likeliest, at most `max_logits` and no more than have together a probability
    of `logit_mass`. Transcoders are not used at `skipped_positions`.

    Raises InvalidRequestError for numbers out of range, transcoders that are none, or do not fit
    the model; UnknownComponentError for a model without attention patterns,
    UnsupportedOperationError for one whose pass is not linear once they are frozen,
    UnknownPositionError, NotEnoughMemoryError, NotFiniteError.
    """
    return attributed(
        Replacement(kit, tokens, transcoders, skipped_positions),
        max_logits=max_logits,
        logit_mass=logit_mass,
        max_feature_nodes=max_feature_nodes,
        batch_size=batch_size,
        progress=progress,
    )


@gaps_explained()
def attributed(
    replacement: Replacement,
    *,
    max_logits: int = MAX_LOGITS,
    logit_mass: float = LOGIT_MASS,
    max_feature_nodes: int = MAX_FEATURE_NODES,
    batch_size: int | None = None,
    progress: Progress = lambda done, total: None,
) -> AttributionGraph:
    """The graph of a replacement model, as `attribution_graph` makes it."""
    for name, number in (
        ("max_logits", max_logits),
        ("max_feature_nodes", max_feature_nodes),
        ("batch_size", batch_size),
    ):
        if number is not None and number < 1:
            raise InvalidRequestError(f"{name}: {number} is less than 1")
    if not 0 < logit_mass <= 1:
        raise InvalidRequestError(f"logit_mass: {logit_mass} is not above 0 and at most 1")
    length = replacement.length
    batch_size = batch_size or max(1, min(BATCH, POSITIONS // length))
    logits = _logits(replacement, max_logits, logit_mass)
    active = len(replacement.active)
    most = min(max_feature_nodes, active)
    _check_memory(replacement, len(logits.tokens) + most, batch_size)
    rows = _Rows(replacement, logits, most)
    total = len(logits.tokens) + most
    progress(0, total)
    for first in range(0, len(logits.tokens), batch_size):
        rows.add_logits(slice(first, first + batch_size))
        progress(rows.done, total)
    while rows.done < total:
        queue = rows.next_features(BATCHES_BETWEEN * batch_size)
        for first in range(0, len(queue), batch_size):
            rows.add_features(queue[first : first + batch_size])
            progress(rows.done, total)
    return rows.graph()


@dataclass(frozen=True, eq=False)
class _Logits:
    """The logits of a graph: `directions` ``[n, hidden]`` say what each reads of the final norm."""

    tokens: Sequence[int]
    probabilities: np.ndarray
    values: np.ndarray
    directions: mx.array


def _logits(replacement: Replacement, most: int, mass: float) -> _Logits:
    tokens, probabilities = chosen_logits(replacement.frozen.logits, most, mass)
    directions, bias = centred_unembedding(replacement.kit, tokens)
    values = directions @ replacement.frozen.values[FINAL_NORM][-1] + bias
    return _Logits(tokens, probabilities, np.array(values), directions)


def centred_unembedding(kit: ModelKit, tokens: Sequence[int]) -> tuple[mx.array, mx.array]:
    """What the logits of tokens, less the mean of all logits, read of the final norm,
    ``[tokens, hidden]``, and what is added to each, ``[tokens]``. Raises UnknownWeightError for a
    model without an unembedding."""
    unembedding = kit.weights["W_U", None]
    directions = unembedding.array({"vocab": list(tokens)}).T - kit.weights.mean_unembedding
    if kit.weights.absence("b_U", None):
        return directions, mx.zeros(len(tokens))
    bias = kit.weights["b_U", None].array()
    return directions, bias[mx.array(list(tokens))] - bias.mean()


class _Rows:
    """The edges into one target after another, ``[targets, sources]``."""

    def __init__(self, replacement: Replacement, logits: _Logits, features: int) -> None:
        self._replacement = replacement
        self._logits = logits
        self._edges = np.zeros((len(logits.tokens) + features, replacement.sources), np.float32)
        self._biases = np.zeros(len(self._edges), np.float32)
        self._visited = np.zeros(len(replacement.active), bool)
        self._order: list[int] = []
        self._features = features
        self._texts = [replacement.kit.pieces.text(token) for token in replacement.frozen.tokens]
        self.done = 0

    def add_logits(self, which: slice) -> None:
        directions = self._logits.directions[which]
        count = len(directions)
        last = np.full(count, self._replacement.length - 1)
        values = self._logits.values[which]
        self._add([FINAL_NORM] * count, last, directions, values)

    def next_features(self, most: int) -> np.ndarray:
        """The numbers of the features that are to be targets next, at most so many, by layer."""
        left = min(most, self._features - len(self._order))
        if self._features == len(self._visited):
            return np.flatnonzero(~self._visited)
        count = len(self._logits.tokens)
        sources = self._edges.shape[1]
        targets = np.concatenate([sources + np.arange(count), self._order]).astype(int)
        weights = np.zeros(sources + count)
        weights[sources:] = self._logits.probabilities
        known = np.pad(shares(self._edges[: self.done]), [(0, 0), (0, count)])
        found = partial_influence(known, targets, weights)[: len(self._visited)]
        found[self._visited] = -1
        return np.argsort(-found, kind="stable")[:left]

    def add_features(self, numbers: np.ndarray) -> None:
        numbers = np.sort(numbers)
        active = self._replacement.active
        self._add(
            self._replacement.reads(numbers),
            active.positions[numbers],
            self._replacement.directions(numbers),
            active.activations[numbers],
        )
        self._visited[numbers] = True
        self._order.extend(numbers.tolist())

    def _add(
        self,
        points: Sequence[Point],
        positions: np.ndarray,
        directions: mx.array,
        values: np.ndarray,
    ) -> None:
        edges = self._replacement_edges(points, positions, directions)
        rows = slice(self.done, self.done + len(edges))
        known, unwritten = self._replacement.frozen.values, self._replacement.unwritten
        each = list(zip(points, positions.tolist(), strict=True))
        moved = mx.stack([known[point][at] - unwritten[point][at] for point, at in each])
        explained = np.array((directions * moved).sum(-1))
        _check_linear(self._replacement.kit, edges, explained, values)
        self._edges[rows] = edges
        self._biases[rows] = values - explained
        self.done += len(edges)

    def _replacement_edges(
        self, points: Sequence[Point], positions: np.ndarray, directions: mx.array
    ) -> np.ndarray:
        """The direct effects of all sources, ``[targets, sources]``."""
        replacement = self._replacement
        arriving = gradients(replacement, points, positions, directions)
        edges = np.zeros((len(points), replacement.sources), np.float32)
        effects = [
            (each.columns, _effects(arriving[each.point], each))
            for each in replacement.written
            if each.point in arriving
        ]
        mx.eval([effect for _, found in effects for effect in found])
        for columns, found in effects:
            edges[:, columns] += np.concatenate([np.array(each) for each in found], axis=1)
        if not np.isfinite(edges).all():
            raise NotFiniteError(
                "an edge of the graph is NaN or infinite: load the model in float32"
            )
        return edges

    def graph(self) -> AttributionGraph:
        """The graph of the targets so far."""
        replacement, logits = self._replacement, self._logits
        active, count = replacement.active, len(logits.tokens)
        chosen = np.array(self._order, int)
        by_number = np.argsort(chosen, kind="stable")
        chosen = chosen[by_number]
        columns = np.concatenate([chosen, np.arange(len(active), replacement.sources)])
        size = len(columns) + count
        weights = np.zeros((size, size), np.float32)
        weights[: len(chosen), : len(columns)] = self._edges[count:][by_number][:, columns]
        weights[len(columns) :, : len(columns)] = self._edges[:count][:, columns]
        nodes = [
            *self._feature_nodes(chosen, self._biases[count:][by_number]),
            *self._other_nodes(),
            *self._logit_nodes(),
        ]
        tokens, layers = replacement.frozen.tokens, len(replacement.frozen.mlps)
        return AttributionGraph(tokens, self._texts, layers, nodes, weights, len(active))

    def _feature_nodes(self, chosen: np.ndarray, biases: np.ndarray) -> Iterator[Node]:
        active = self._replacement.active
        for number, bias in zip(chosen, biases, strict=True):
            activation = float(active.activations[number])
            position = int(active.positions[number])
            yield Node(
                NodeKind.FEATURE,
                int(active.layers[number]),
                position,
                int(active.indices[number]),
                self._texts[position],
                value=activation,
                bias=float(bias),
                activation=activation,
            )

    def _other_nodes(self) -> Iterator[Node]:
        frozen = self._replacement.frozen
        for layer in range(len(frozen.mlps)):
            for position, text in enumerate(self._texts):
                yield Node(NodeKind.ERROR, layer, position, None, text)
        for position, token in enumerate(frozen.tokens):
            yield Node(NodeKind.EMBEDDING, None, position, token, self._texts[position])

    def _logit_nodes(self) -> Iterator[Node]:
        logits, text = self._logits, self._replacement.kit.pieces.text
        for n, token in enumerate(logits.tokens):
            yield Node(
                NodeKind.LOGIT,
                None,
                self._replacement.length - 1,
                int(token),
                text(token),
                value=float(logits.values[n]),
                bias=float(self._biases[n]),
                probability=float(logits.probabilities[n]),
            )


def gradients(
    replacement: Replacement,
    points: Sequence[Point],
    positions: np.ndarray,
    directions: mx.array,
) -> dict[Point, mx.array]:
    """How much each of some targets grows with what is written, ``[targets, seq, hidden]``, by the
    point that is written. Each target reads a direction ``[hidden]`` at a point and a position."""
    frozen = replacement.frozen
    distinct = [*dict.fromkeys(points)]
    shape = (len(points), replacement.length, directions.shape[-1])
    cotangents = []
    for point in distinct:
        rows = [n for n, each in enumerate(points) if each == point]
        found = mx.zeros(shape)
        found[mx.array(rows), mx.array(positions[rows])] = directions[mx.array(rows)]
        cotangents.append(found)
    writes = frozen.writes

    def read(*written: mx.array) -> list[mx.array]:
        values = frozen.run(dict(zip(writes, written, strict=True)))
        return [values[point] for point in distinct]

    zeros = [mx.zeros((len(points), *frozen.values[point].shape)) for point in writes]
    _, arriving = mx.vjp(read, zeros, cotangents)
    return dict(zip(writes, arriving, strict=True))


def _check_memory(replacement: Replacement, targets: int, batch: int) -> None:
    """Raise NotEnoughMemoryError if the edges do not fit."""
    hidden, layers = replacement.kit.info.hidden_size, len(replacement.frozen.mlps)
    nodes = replacement.sources - len(replacement.active) + targets
    replacement.kit.footprint.check_parts(
        {
            "what sources write": 4 * hidden * sum(len(w.columns) for w in replacement.written),
            "edges": 4 * targets * replacement.sources,
            "the graph": 4 * nodes * nodes,
            "a batch of targets": 4 * batch * replacement.length * hidden * 4 * (layers + 1),
        },
        f"a graph of {targets} targets and {replacement.sources} sources",
        "lower max_feature_nodes, or shorten the prompt",
    )


def _effects(arriving: mx.array, written: Written) -> list[mx.array]:
    """What sources do to targets, ``[targets, sources of a position]`` for each position."""
    ends = np.flatnonzero(np.diff(written.positions)) + 1
    effects = []
    for numbers in np.split(np.arange(len(written.positions)), ends):
        if len(numbers):
            first, last = int(numbers[0]), int(numbers[-1]) + 1
            at = int(written.positions[first])
            effects.append(arriving[:, at] @ written.vectors[first:last].T)
    return effects


def _check_linear(
    kit: ModelKit, edges: np.ndarray, explained: np.ndarray, values: np.ndarray
) -> None:
    """Raise UnsupportedOperationError if the edges do not add up to what the sources do together:
    then something between them is not linear, and there are no direct effects."""
    if not len(edges):
        return
    size = np.abs(edges).sum(axis=1).max()
    missed = np.abs(edges.sum(axis=1, dtype=np.float64) - explained).max()
    tolerance = TOLERANCE if kit.footprint.itemsize == 4 else 0.1
    if missed > tolerance * max(size, np.abs(values).max()):
        raise UnsupportedOperationError(
            "no attribution graph: with attention patterns and norms frozen, this model is still "
            f"not linear between its MLPs: edges miss the sum of their effects by {missed:.3g}"
        )
