"""Random feature sets for tests."""

import mlx.core as mx

from engine.components import ComponentType as C
from engine.features.activations import Activation, Relu
from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.encoder import Encoder
from engine.features.feature_set import FeatureSet
from engine.taps.points import Point


def random(*shape: int) -> mx.array:
    return mx.random.normal(shape) * 0.3


def random_set(
    width: int,
    reads: Point,
    writes: Point | None = None,
    activation: Activation | None = None,
    n: int = 40,
    **more,
) -> FeatureSet:
    """A set with random weights and numbers of features that are easy to tell from a width."""
    mx.random.seed(5)
    encoder = Encoder(random(n, width), random(n), activation or Relu(), **more)
    return FeatureSet(
        "random", "test", reads, writes or reads, encoder, random(n, width), random(width)
    )


def random_cross_layer(width: int, layers: int, n: int = 24) -> CrossLayerTranscoder:
    mx.random.seed(6)
    return CrossLayerTranscoder(
        "across",
        "cross_layer",
        tuple(Point(layer, C.MLP, True) for layer in range(layers)),
        tuple(Point(layer, C.MLP) for layer in range(layers)),
        tuple(Encoder(random(n, width), random(n), Relu()) for _ in range(layers)),
        tuple(random(n, layers - layer, width) for layer in range(layers)),
        random(layers, width),
    )
