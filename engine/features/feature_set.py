"""A set of features that reads one value of a model, and writes that value or another."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import mlx.core as mx

from engine.errors import InvalidRequestError
from engine.features.encoder import Encoder
from engine.features.normalization import Normalization
from engine.taps.points import Point


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """A sparse autoencoder, or a transcoder of one layer.

    `reads` and `writes` are the points of the model whose values it encodes and reconstructs; they
    are one for an autoencoder. `reads_before_norm_weight` says that it reads what the norm at that
    point computes before the norm's weight is applied: TransformerLens's ``hook_normalized``.
    Per-head values are read and written with heads and width in one axis.

    `decoder` is ``[n_features, d_out]``, a row a feature; features are multiplied by
    `decoder_scale` ``[n_features]`` before it. `skip` ``[d_out, d_in]`` adds a linear function of
    the value as it was read. All
    arrays are float32.
    `normalization_out` scales the reconstruction back, of sets that scale what they read.
    `metadata` is what the file says beside, such as the model that it was trained on,
    `warnings` what to know before its numbers are relied upon.
    """

    name: str
    architecture: str
    reads: Point
    writes: Point
    encoder: Encoder
    decoder: mx.array
    decoder_bias: mx.array
    decoder_scale: mx.array | None = None
    skip: mx.array | None = None
    normalization_out: Normalization | None = None
    reads_before_norm_weight: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def d_in(self) -> int:
        return self.encoder.weight.shape[1]

    @property
    def d_out(self) -> int:
        return self.decoder.shape[1]

    @property
    def n_features(self) -> int:
        return self.decoder.shape[0]

    @property
    def is_transcoder(self) -> bool:
        """Whether it writes another value than it reads."""
        return self.writes != self.reads

    @property
    def decodes_input(self) -> bool:
        """Whether decoding needs the value that was encoded: for a skip, or a scale."""
        return self.skip is not None or self.normalization_out is not None

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays."""
        return nbytes_of(self)

    def encode(self, x: mx.array) -> mx.array:
        """Features ``[..., n_features]`` of values ``[..., d_in]``."""
        return self.encoder(x)

    def decode(self, features: mx.array, x: mx.array | None = None) -> mx.array:
        """Reconstructions ``[..., d_out]`` of features ``[..., n_features]``.

        `x` ``[..., d_in]`` is the value that was encoded. Raises InvalidRequestError if it is
        missing where `decodes_input`.
        """
        if self.decodes_input and x is None:
            raise InvalidRequestError(f"{self.name}: decoding needs the value that was encoded")
        decoded = self.contribution(features) + self.decoder_bias
        if x is not None:
            x = x.astype(mx.float32)
            if self.normalization_out is not None:
                scale, shift = self.normalization_out.scale(x), self.normalization_out.shift(x)
                decoded = decoded * scale + shift
            if self.skip is not None:
                decoded = decoded + x @ self.skip.T
        return decoded

    def contribution(self, features: mx.array) -> mx.array:
        """What features add, ``[..., d_out]``, before any bias, scale or skip."""
        if self.decoder_scale is not None:
            features = features * self.decoder_scale
        return features @ self.decoder

    def reconstruct(self, x: mx.array) -> mx.array:
        """The reconstruction of the value at `writes` from the value at `reads`."""
        return self.decode(self.encode(x), x)

    def error(self, x: mx.array, target: mx.array | None = None) -> mx.array:
        """The value at `writes` (an autoencoder's: `x` itself) minus its reconstruction."""
        return (x if target is None else target).astype(mx.float32) - self.reconstruct(x)

    def encoder_rows(self, indices: mx.array) -> mx.array:
        """The directions ``[n, d_in]`` that features read."""
        return self.encoder.weight[indices]

    def decoder_rows(self, indices: mx.array) -> mx.array:
        """The directions ``[n, d_out]`` that features write, for one unit of each."""
        rows = self.decoder[indices]
        return rows if self.decoder_scale is None else rows * self.decoder_scale[indices][:, None]


def nbytes_of(value: Any) -> int:
    """The bytes of the arrays in a dataclass, and in those that it contains; none counts twice."""
    return sum({id(array): array.nbytes for array in arrays_of(value)}.values())


def arrays_of(value: Any) -> list[mx.array]:
    """The arrays in a dataclass, and in the dataclasses and tuples that it contains."""
    if isinstance(value, mx.array):
        return [value]
    if isinstance(value, tuple):
        return [array for each in value for array in arrays_of(each)]
    if is_dataclass(value) and not isinstance(value, type):
        return [array for each in fields(value) for array in arrays_of(getattr(value, each.name))]
    return []
