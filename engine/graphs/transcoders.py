"""Transcoders as an attribution graph needs them: what each feature reads, and where it writes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import mlx.core as mx

from engine.components import ComponentType as C
from engine.errors import InvalidRequestError
from engine.features.activations import AbsTopK, Gated, TopK
from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.encoder import Encoder
from engine.features.feature_set import FeatureSet
from engine.graphs.frozen import Skips
from engine.taps.points import Point

Transcoders = Sequence[FeatureSet | CrossLayerTranscoder]
"""A transcoder for each of some layers, or one cross-layer transcoder."""


@dataclass(frozen=True, eq=False)
class LayerFeatures:
    """The features that read one layer.

    `writes` are the points that they write, in order; `decoders[i]` returns the directions
    ``[n, d_out]`` that some features write there.
    """

    layer: int
    reads: Point
    writes: tuple[Point, ...]
    encoder: Encoder
    source: FeatureSet | CrossLayerTranscoder

    def directions(self, indices: mx.array) -> mx.array:
        """What active features read, ``[n, d_in]``: by how much the value of each grows with what
        is read there."""
        rows = self.encoder.weight[indices]
        activation = self.encoder.activation
        if isinstance(activation, Gated):
            return rows * mx.exp(activation.log_scale[indices])[:, None]
        if isinstance(activation, TopK | AbsTopK) and activation.scale is not None:
            return rows * activation.scale[indices][:, None]
        return rows

    def written(self, indices: mx.array) -> list[mx.array]:
        """What one unit of each of some features writes, ``[n, d_out]`` for each of `writes`."""
        if isinstance(self.source, FeatureSet):
            return [self.source.decoder_rows(indices)]
        rows = self.source.decoder_rows(self.layer, indices)
        return [rows[:, offset] for offset in range(len(self.writes))]


def features_by_layer(transcoders: Transcoders, layers: int) -> list[LayerFeatures]:
    """The features of each layer that has some, by layer.

    Raises InvalidRequestError for what is no transcoder of MLPs, for two of one layer, for a
    cross-layer one beside others, and for one that scales what it reads by its size, of which no
    linear effect can be told.
    """
    across = [each for each in transcoders if isinstance(each, CrossLayerTranscoder)]
    if across and len(transcoders) > 1:
        raise InvalidRequestError(
            f"features: {across[0].name} is of all layers, and has to be alone"
        )
    found = [features for each in transcoders for features in _features_of(each)]
    found.sort(key=lambda each: each.layer)
    if not found:
        raise InvalidRequestError("features: at least one transcoder is needed")
    for each in found:
        _check(each, layers)
    for one, other in pairwise(found):
        if one.layer == other.layer:
            raise InvalidRequestError(f"features: layer {one.layer} has two transcoders")
    return found


def decoder_biases(features: Sequence[LayerFeatures]) -> dict[Point, mx.array]:
    """What transcoders write whatever is active, ``[d_out]``."""
    biases = {}
    for each in features:
        source = each.source
        if isinstance(source, FeatureSet):
            biases[source.writes] = source.decoder_bias
        else:
            biases.update(zip(source.writes, source.decoder_bias, strict=True))
    return biases


def skips(features: Sequence[LayerFeatures]) -> Skips:
    """The linear part of what is written, where transcoders have one."""
    found = {}
    for each in features:
        source = each.source
        if source.skip is None:
            continue
        matrix = source.skip
        if isinstance(source, CrossLayerTranscoder):
            matrix = matrix[source.reads.index(each.reads)]
        found[each.writes[0]] = (each.reads, matrix)
    return found


def _features_of(transcoder: FeatureSet | CrossLayerTranscoder) -> Iterator[LayerFeatures]:
    if isinstance(transcoder, FeatureSet):
        _check_written(transcoder.name, [transcoder.writes])
        only = transcoder.writes
        yield LayerFeatures(
            only.in_layer, transcoder.reads, (only,), transcoder.encoder, transcoder
        )
        return
    _check_written(transcoder.name, transcoder.writes)
    for number, encoder in enumerate(transcoder.encoders):
        read, writes = transcoder.reads[number], transcoder.writes[number:]
        yield LayerFeatures(writes[0].in_layer, read, writes, encoder, transcoder)


def _check_written(name: str, points: Sequence[Point]) -> None:
    for point in points:
        if point.component is not C.MLP or point.is_input:
            where = "the model" if point.layer is None else f"layer {point.layer}"
            raise InvalidRequestError(
                f"features: {name} writes {point.component} of {where}; an attribution graph "
                "needs transcoders, which write what MLPs do"
            )


def _check(features: LayerFeatures, layers: int) -> None:
    source, name = features.source, features.source.name
    for point in features.writes:
        if not 0 <= point.in_layer < layers:
            raise InvalidRequestError(
                f"features: {name} is of layer {point.layer}; the model has layers 0 to "
                f"{layers - 1}"
            )
    if source.reads_before_norm_weight:
        raise InvalidRequestError(
            f"features: {name} reads what a norm computes before its weight is applied, which is "
            "no hook point here"
        )
    out = source.normalization_out if isinstance(source, FeatureSet) else None
    if features.encoder.normalization is not None or out is not None:
        raise InvalidRequestError(
            f"features: {name} divides what it reads by its size: its features are no linear "
            "function of the residual stream"
        )
