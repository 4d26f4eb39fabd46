"""Transcoders whose features read one layer and write it and all later ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from engine.features.encoder import Encoder
from engine.features.feature_set import nbytes_of
from engine.taps.points import Point


@dataclass(frozen=True, eq=False)
class CrossLayerTranscoder:
    """One encoder a layer, and decoders to that layer and each later one (Ameisen et al. 2025).

    `reads` and `writes` are a point a layer. `decoders[i]` is ``[n_features, layers - i, d_out]``,
    `decoder_bias` ``[layers, d_out]``, and `skip` ``[layers, d_out, d_in]``. All are float32.
    """

    name: str
    architecture: str
    reads: tuple[Point, ...]
    writes: tuple[Point, ...]
    encoders: tuple[Encoder, ...]
    decoders: tuple[mx.array, ...]
    decoder_bias: mx.array
    skip: mx.array | None = None
    reads_before_norm_weight: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def layers(self) -> int:
        return len(self.encoders)

    @property
    def d_in(self) -> int:
        return self.encoders[0].weight.shape[1]

    @property
    def d_out(self) -> int:
        return self.decoder_bias.shape[1]

    @property
    def n_features(self) -> int:
        """The features of each layer."""
        return self.encoders[0].weight.shape[0]

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays."""
        return nbytes_of(self)

    def encode(self, x: Sequence[mx.array] | mx.array) -> mx.array:
        """Features ``[layers, ..., n_features]`` of values ``[layers, ..., d_in]``."""
        return mx.stack([encode(each) for encode, each in zip(self.encoders, x, strict=True)])

    def encode_layer(self, layer: int, x: mx.array) -> mx.array:
        """Features ``[..., n_features]`` of one layer's value ``[..., d_in]``."""
        return self.encoders[layer](x)

    def decode(
        self, features: Sequence[mx.array] | mx.array, x: Sequence[mx.array] | mx.array
    ) -> mx.array:
        """Reconstructions ``[layers, ..., d_out]`` of features ``[layers, ..., n_features]``."""
        return mx.stack([self.decode_layer(n, features, x[n]) for n in range(self.layers)])

    def decode_layer(
        self, layer: int, features: Sequence[mx.array] | mx.array, x: mx.array
    ) -> mx.array:
        """The reconstruction ``[..., d_out]`` of one layer, from the features of it and of all
        before it, and from its value `x` ``[..., d_in]``, which only a skip needs."""
        decoded = self.decoder_bias[layer]
        for source in range(layer + 1):
            decoded = decoded + features[source] @ self.decoders[source][:, layer - source]
        if self.skip is not None:
            decoded = decoded + x.astype(mx.float32) @ self.skip[layer].T
        return decoded

    def error(
        self, x: Sequence[mx.array] | mx.array, targets: Sequence[mx.array] | mx.array
    ) -> mx.array:
        """The values at `writes` minus their reconstructions, ``[layers, ..., d_out]``."""
        reconstructions = self.decode(self.encode(x), x)
        return mx.stack([each.astype(mx.float32) for each in targets]) - reconstructions

    def encoder_rows(self, layer: int, indices: mx.array) -> mx.array:
        """The directions ``[n, d_in]`` that features of a layer read."""
        return self.encoders[layer].weight[indices]

    def decoder_rows(self, layer: int, indices: mx.array) -> mx.array:
        """The directions ``[n, layers - layer, d_out]`` that features of a layer write: to that
        layer, and to each later one."""
        return self.decoders[layer][indices]
