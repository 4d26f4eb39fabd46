"""The local replacement model of one prompt: features in the place of MLPs, and what they miss.

What each MLP writes is the sum of what active features write, of biases, of a skip's linear part,
and of an error that makes the sum exact (Ameisen et al. 2025). At some positions, by default the
first, transcoders are not used: what MLPs write there belongs to no node.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import mlx.core as mx
import numpy as np

from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, UnknownPositionError
from engine.graphs.frozen import EMBEDDING, FrozenPass
from engine.graphs.transcoders import (
    LayerFeatures,
    Transcoders,
    decoder_biases,
    features_by_layer,
    skips,
)
from engine.runs.kit import ModelKit
from engine.taps.points import Point


@dataclass(frozen=True, eq=False)
class ActiveFeatures:
    """The features that are active in a prompt, ``[n]`` each: by layer, position and index."""

    layers: np.ndarray
    positions: np.ndarray
    indices: np.ndarray
    activations: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, eq=False)
class Written:
    """What some sources write at one point: `columns` are their numbers, `positions` where each
    writes, ``[n]``, and `vectors` what, ``[n, hidden]``; the positions ascend."""

    point: Point
    columns: np.ndarray
    positions: np.ndarray
    vectors: mx.array


class Replacement:
    """A prompt's replacement model: sources that write to a frozen pass, and what reads it.

    Sources are numbered: the active features, then errors by layer and position, then token
    embeddings. Raises what `FrozenPass` and `features_by_layer` raise, and UnknownPositionError.
    """

    def __init__(
        self,
        kit: ModelKit,
        tokens: Sequence[int],
        transcoders: Transcoders,
        skipped_positions: Sequence[int] = (0,),
    ) -> None:
        length = len(tokens)
        for position in skipped_positions:
            if not 0 <= position < length:
                raise UnknownPositionError(
                    f"skipped_positions: {position} is not in the prompt: 0 to {length - 1}"
                )
        for each in transcoders:
            if each.structure is not kit.structure:
                raise InvalidRequestError(f"feature_sets: {each.set_id} is of another model")
        _check_memory(kit, length)
        self.kit = kit
        self.features = features_by_layer(transcoders)
        self._by_layer = {each.layer: each for each in self.features}
        self.skips = skips(self.features)
        self.frozen = FrozenPass(kit, tokens, [each.reads for each in self.features], self.skips)
        self._used = np.ones(length, bool)
        self._used[list(skipped_positions)] = False
        self.active = self._active()
        self._divide()

    @property
    def length(self) -> int:
        """The prompt's tokens."""
        return len(self.frozen.tokens)

    @property
    def sources(self) -> int:
        """How many sources there are."""
        return len(self.active) + (self.kit.structure.layers + 1) * self.length

    def layer(self, layer: int) -> LayerFeatures:
        """The features of a layer. Raises InvalidRequestError if it has none."""
        if layer not in self._by_layer:
            there = ", ".join(map(str, self._by_layer))
            raise InvalidRequestError(f"layer {layer} has no transcoder; these have: {there}")
        return self._by_layer[layer]

    def number(self, layer: int, position: int, index: int) -> int | None:
        """The number of an active feature; None if it is not active there."""
        active = self.active
        here = (active.layers == layer) & (active.positions == position)
        found = np.flatnonzero(here & (active.indices == index))
        return int(found[0]) if len(found) else None

    def check_feature(self, layer: int, position: int, index: int) -> None:
        """Raise InvalidRequestError for a feature, or a place of one, that is not used."""
        features = self.layer(layer).source.n_features
        if not 0 <= index < features:
            raise InvalidRequestError(f"layer {layer} has no feature {index}: 0 to {features - 1}")
        if not (0 <= position < self.length and self._used[position]):
            used = ", ".join(map(str, np.flatnonzero(self._used).tolist()))
            raise InvalidRequestError(
                f"transcoders are not used at position {position}; they are at {used}"
            )

    def directions(self, features: np.ndarray) -> mx.array:
        """What some of the active features read, ``[n, d_in]``; `features` are their numbers."""
        return mx.concatenate(
            [
                self._by_layer[layer].directions(mx.array(self.active.indices[numbers]))
                for layer, numbers in self._of_layers(features)
            ]
        )

    def reads(self, features: np.ndarray) -> list[Point]:
        """The points that some of the active features read."""
        return [self._by_layer[layer].reads for layer in self.active.layers[features].tolist()]

    @cached_property
    def written(self) -> list[Written]:
        """What all sources write."""
        found, first = list(self._by_features), len(self.active)
        positions = np.arange(self.length)
        for point in (*self.frozen.mlps, EMBEDDING):
            found.append(Written(point, first + positions, positions, self._own[point]))
            first += self.length
        mx.eval([each.vectors for each in found])
        return found

    @cached_property
    def constant(self) -> dict[Point, mx.array]:
        """The values ``[1, seq, hidden]`` that a frozen pass is given when no source writes: what
        biases write, and MLPs at positions where transcoders are not used."""
        return {point: value[None] for point, value in self._constant.items()}

    @cached_property
    def unwritten(self) -> dict[Point, mx.array]:
        """What is read, ``[seq, hidden]``, when no source writes."""
        return {point: value[0] for point, value in self.frozen.run(self.constant).items()}

    def _of_layers(self, features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Neighbours of one layer, in the order in which they are given."""
        layers = self.active.layers[features]
        ends = np.flatnonzero(np.diff(layers)) + 1
        for numbers in np.split(features, ends):
            if len(numbers):
                yield int(self.active.layers[numbers[0]]), numbers

    def _active(self) -> ActiveFeatures:
        parts: list[tuple[np.ndarray, ...]] = []
        for each in self.features:
            values = np.array(each.encode(self.frozen.values[each.reads]))
            values[~self._used] = 0
            positions, indices = np.nonzero(values)
            layers = np.full(len(indices), each.layer)
            parts.append((layers, positions, indices, values[positions, indices]))
        return ActiveFeatures(*map(np.concatenate, zip(*parts, strict=True)))

    def _divide(self) -> None:
        """Divide what is written into errors, token embeddings, and what comes from no source."""
        used = mx.array(self._used)[:, None]
        biases = decoder_biases(self.features)
        made = self._made()
        self._own: dict[Point, mx.array] = {}
        self._constant: dict[Point, mx.array] = {}
        for point in self.frozen.mlps:
            value = self.frozen.values[point]
            if point in self.skips:
                read, matrix = self.skips[point]
                value = value - self.frozen.values[read] @ matrix.T
            bias = biases.get(point, mx.zeros(value.shape[-1:]))
            rest = mx.where(used, bias, value)
            self._constant[point] = rest
            self._own[point] = value - rest - made.get(point, 0)
        value = self.frozen.values[EMBEDDING]
        added = self._positions_added()
        self._constant[EMBEDDING] = mx.zeros_like(value) + added
        self._own[EMBEDDING] = value - added

    @cached_property
    def _by_features(self) -> list[Written]:
        found = []
        for layer, numbers in self._of_layers(np.arange(len(self.active))):
            each = self._by_layer[layer]
            scale = mx.array(self.active.activations[numbers])[:, None]
            rows = each.written(mx.array(self.active.indices[numbers]))
            positions = self.active.positions[numbers]
            found += [
                Written(point, numbers, positions, scale * row)
                for point, row in zip(each.writes, rows, strict=True)
            ]
        return found

    def _made(self) -> dict[Point, mx.array]:
        """What features write together, ``[seq, hidden]``."""
        made: dict[Point, mx.array] = {}
        for each in self._by_features:
            sums = made.get(each.point, mx.zeros(self.frozen.values[each.point].shape))
            made[each.point] = sums.at[mx.array(each.positions)].add(each.vectors)
        return made

    def _positions_added(self) -> mx.array | float:
        """What a learned table of positions adds to the token embeddings, ``[seq, hidden]``."""
        weights = self.kit.weights
        if weights.absence("W_pos", None):
            return 0.0
        table = weights["W_pos", None]
        if table.notes:
            raise InvalidRequestError(
                f"no attribution graph: of the embeddings, {'; '.join(table.notes)}"
            )
        return table.array({"pos": list(range(self.length))})


def _check_memory(kit: ModelKit, length: int) -> None:
    """Raise NotEnoughMemoryError if a pass, its patterns and its MLPs' outputs do not fit."""
    footprint = kit.footprint
    once = footprint.of_pass(1, length, length, logits=length, looks_at_scores=True)
    kept = [point for point in kit.structure.shapes if point.component is C.ATTENTION_PATTERN]
    kept_bytes = 4 * len(kept) * footprint.heads * length * length
    streams = 4 * 6 * kit.structure.layers * length * kit.info.hidden_size
    footprint.check_parts(
        {**once.parts, "attention patterns": kept_bytes, "what MLPs read and write": streams},
        f"a replacement model over {length} positions",
        "shorten the prompt",
    )
