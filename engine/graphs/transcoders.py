"""Transcoders as an attribution graph needs them: what each feature reads, and where it writes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import mlx.core as mx

from engine.components import ComponentType as C
from engine.errors import InvalidRequestError
from engine.features.activations import AbsTopK, Gated, TopK
from engine.features.bound import BoundLayer, BoundSet
from engine.features.cross_layer import CrossLayerTranscoder
from engine.graphs.frozen import Skips
from engine.taps.points import Point

Transcoders = Sequence[BoundSet]
"""A transcoder for each of some layers, or one cross-layer transcoder."""


@dataclass(frozen=True, eq=False)
class LayerFeatures:
    """The features of one layer of the model."""

    layer: int
    source: BoundSet
    bound: BoundLayer

    @property
    def reads(self) -> Point:
        """The point that they read."""
        return self.bound.reads.point

    @property
    def writes(self) -> tuple[Point, ...]:
        """The points that they write, in order."""
        return tuple(point for point, _ in self.bound.layer.decoder_rows)

    def encode(self, value: mx.array) -> mx.array:
        """Features ``[rows, n_features]`` of the model's value ``[rows, hidden]``."""
        return self.bound.layer.encoder(self.bound.reads.flat(value[None])[0])

    def directions(self, indices: mx.array) -> mx.array:
        """What active features read, ``[n, hidden]``: by how much each grows with the model's
        value."""
        encoder = self.bound.layer.encoder
        rows, activation = encoder.weight[indices], encoder.activation
        if isinstance(activation, Gated):
            rows = rows * mx.exp(activation.log_scale[indices])[:, None]
        if isinstance(activation, TopK | AbsTopK) and activation.scale is not None:
            rows = rows * activation.scale[indices][:, None]
        return self._of_value(rows)

    def written(self, indices: mx.array) -> list[mx.array]:
        """What one unit of each of some features writes, ``[n, hidden]`` for each of `writes`."""
        return [rows(indices) for _, rows in self.bound.layer.decoder_rows]

    @property
    def decoder_bias(self) -> mx.array:
        """What is written to the first of `writes` whatever is active, ``[hidden]``."""
        bias = self.source.feature_set.decoder_bias
        return bias[self._place] if bias.ndim == 2 else bias

    @property
    def skip(self) -> mx.array | None:
        """By what matrix ``[hidden, hidden]`` a linear part of what is written there follows the
        model's value; None if there is no such part."""
        matrix = self.source.feature_set.skip
        if matrix is None:
            return None
        return self._of_value(matrix[self._place] if matrix.ndim == 3 else matrix)

    @property
    def _place(self) -> int:
        """The number of the layer in its set."""
        return self.source.layers.index(self.bound)

    def _of_value(self, rows: mx.array) -> mx.array:
        """Directions ``[n, hidden]`` in the model's value from those in what is read of it."""
        norm = self.bound.reads.norm
        return rows if norm is None else rows / norm[0]


def features_by_layer(transcoders: Transcoders) -> list[LayerFeatures]:
    """The features of each layer that has some, by layer.

    Raises InvalidRequestError for what is no transcoder of MLPs, for two of one layer, for a
    cross-layer one beside others, and for one that scales what it reads by its size, of which no
    linear effect can be told.
    """
    if not transcoders:
        raise InvalidRequestError("feature_sets: at least one transcoder is needed")
    across = [each for each in transcoders if isinstance(each.feature_set, CrossLayerTranscoder)]
    if across and len(transcoders) > 1:
        raise InvalidRequestError(
            f"feature_sets: {across[0].set_id} is of all layers, and has to be alone"
        )
    found = [features for each in transcoders for features in _features_of(each)]
    found.sort(key=lambda each: each.layer)
    for one, other in pairwise(found):
        if one.layer == other.layer:
            raise InvalidRequestError(
                f"feature_sets: layer {one.layer} has two transcoders, {one.source.set_id} and "
                f"{other.source.set_id}"
            )
    return found


def decoder_biases(features: Sequence[LayerFeatures]) -> dict[Point, mx.array]:
    """What transcoders write whatever is active, ``[hidden]``."""
    return {each.writes[0]: each.decoder_bias for each in features}


def skips(features: Sequence[LayerFeatures]) -> Skips:
    """The linear part of what is written, where transcoders have one."""
    matrices = ((each, each.skip) for each in features)
    return {each.writes[0]: (each.reads, matrix) for each, matrix in matrices if matrix is not None}


def _features_of(transcoder: BoundSet) -> Iterator[LayerFeatures]:
    for bound in transcoder.layers:
        points = [point for point, _ in bound.layer.decoder_rows]
        for point in points:
            if point.component is not C.MLP or point.is_input:
                where = "the model" if point.layer is None else f"layer {point.layer}"
                raise InvalidRequestError(
                    f"feature_sets: {transcoder.set_id} writes {point.component} of {where}; an "
                    "attribution graph needs transcoders, which write what MLPs do"
                )
        if bound.layer.encoder.normalization is not None or bound.layer.scale is not None:
            raise InvalidRequestError(
                f"feature_sets: {transcoder.set_id} divides what it reads by its size: its "
                "features are no linear function of the residual stream"
            )
        yield LayerFeatures(points[0].in_layer, transcoder, bound)


def writes_mlps(features: BoundSet) -> bool:
    """Whether a set writes what MLPs do, and nothing else."""
    points = [point for each in features.layers for point, _ in each.layer.decoder_rows]
    return all(point.component is C.MLP and not point.is_input for point in points)
