"""A feature set as its layers, one of an ordinary set: what one reads, and all that it writes."""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx

from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.encoder import Encoder
from engine.features.feature_set import FeatureSet
from engine.features.normalization import Normalization
from engine.taps.points import Point

AnySet = FeatureSet | CrossLayerTranscoder


@dataclass(frozen=True)
class FeatureLayer:
    """The features that one value is encoded to.

    `decoder_rows` are for each point that they write the directions ``[n, d_out]`` of some of
    them; `scale` is what the reconstruction is multiplied by at the end, if it is.
    """

    reads: Point
    encoder: Encoder
    decoder_rows: tuple[tuple[Point, Callable[[mx.array], mx.array]], ...]
    scale: Normalization | None


def layers_of(feature_set: AnySet) -> tuple[FeatureLayer, ...]:
    """The layers of a set, in order."""
    if isinstance(feature_set, FeatureSet):
        writes = (feature_set.writes, feature_set.decoder_rows)
        layer = FeatureLayer(
            feature_set.reads, feature_set.encoder, (writes,), feature_set.normalization_out
        )
        return (layer,)
    return tuple(
        FeatureLayer(
            feature_set.reads[layer], encoder, tuple(_rows_across(feature_set, layer)), None
        )
        for layer, encoder in enumerate(feature_set.encoders)
    )


def _rows_across(
    each: CrossLayerTranscoder, layer: int
) -> list[tuple[Point, Callable[[mx.array], mx.array]]]:
    def rows_to(step: int) -> Callable[[mx.array], mx.array]:
        return lambda indices: each.decoders[layer][indices][:, step]

    return [(point, rows_to(step)) for step, point in enumerate(each.writes[layer:])]
