"""A feature set on one model: checked against it, ready to encode what is captured of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import mlx.core as mx
import numpy as np

from engine.captures.records import CapturedActivation
from engine.captures.sparse import SparseActivation, sparse_rows
from engine.errors import FeatureSetError, UnknownFeatureError, UnknownLayerError
from engine.features.encoder import Encoder
from engine.features.layers import AnySet, FeatureLayer, layers_of
from engine.features.values import ValueForm
from engine.structure.resolver import Structure

AT_ONCE = 256
"""Positions that are encoded at once: all features of them are in memory."""


@dataclass(frozen=True, eq=False)
class BoundLayer:
    """One layer of a set on a model: how it reads, and how each value that it writes is written."""

    layer: FeatureLayer
    reads: ValueForm
    writes: tuple[ValueForm, ...]


class BoundSet:
    """A feature set under its id on one model. Raises FeatureSetError if it does not fit."""

    def __init__(self, set_id: str, feature_set: AnySet, structure: Structure):
        self.set_id = set_id
        self.feature_set = feature_set
        self.structure = structure
        try:
            self.layers = tuple(self._bound(layer, structure) for layer in layers_of(feature_set))
        except FeatureSetError as error:
            raise FeatureSetError(f"{set_id} does not fit the model: {error}") from error

    @property
    def n_features(self) -> int:
        return self.feature_set.n_features

    @property
    def nbytes(self) -> int:
        return self.feature_set.nbytes

    def layers_named(self, layer: int | None) -> Sequence[BoundLayer]:
        """The layer of this number in the model, or all of them. Raises UnknownLayerError."""
        if layer is None:
            return self.layers
        found = [each for each in self.layers if each.reads.point.layer == layer]
        if not found:
            known = ", ".join(str(each.reads.point.layer) for each in self.layers)
            raise UnknownLayerError(f"{self.set_id} has no layer {layer}; it has {known}")
        return found

    def check_features(self, features: Sequence[int] | None) -> None:
        """Raise UnknownFeatureError for a feature that the set does not have."""
        for feature in features or ():
            if not 0 <= feature < self.n_features:
                raise UnknownFeatureError(
                    f"feature {feature} of {self.set_id}: there are features 0 to "
                    f"{self.n_features - 1}"
                )

    def _bound(self, layer: FeatureLayer, structure: Structure) -> BoundLayer:
        before = self.feature_set.reads_before_norm_weight
        reads = ValueForm.of(structure, layer.reads, before)
        _check_width("reads", reads, self.feature_set.d_in)
        writes = []
        for point, _ in layer.decoder_rows:
            form = reads if point == layer.reads else ValueForm.of(structure, point)
            _check_width("writes", form, self.feature_set.d_out)
            writes.append(form)
        return BoundLayer(layer, reads, tuple(writes))


def _check_width(what: str, form: ValueForm, width: int) -> None:
    if form.width != width:
        side = "input of " if form.point.is_input else ""
        layer = "" if form.point.layer is None else f" of layer {form.point.layer}"
        raise FeatureSetError(
            f"it {what} {width} numbers a position, and the {side}{form.point.component}{layer} "
            f"has {form.width}"
        )


class Encoding:
    """Makes of a captured value the features that are not 0.

    `features` are those that are wanted, None: all. The encoder of few is cut out when the first
    record is there, by the thread that owns MLX, where a feature does not depend on the others.
    """

    def __init__(self, bound: BoundSet, layer: BoundLayer, features: tuple[int, ...] | None):
        self.bound = bound
        self.features = features
        self._layer = layer
        self._chosen = None if features is None else np.array(sorted(set(features)), np.int32)

    @cached_property
    def _encoder(self) -> Encoder:
        encoder = self._layer.layer.encoder
        if self._chosen is None or not encoder.activation.is_local:
            return encoder
        return encoder.of_features(mx.array(self._chosen))

    def __call__(self, record: CapturedActivation) -> SparseActivation:
        """The record of the features. Each sequence is encoded for itself, so that its features
        do not depend on those beside it."""
        value = self._layer.reads.flat_record(record.data)
        rows = [row for sequence in value for row in self._dense(sequence)]
        indices, values, offsets = sparse_rows(np.concatenate(rows))
        if self._chosen is not None:
            indices = self._chosen[indices]
        return SparseActivation(
            hook_id=record.hook_id,
            layer_name=record.layer_name,
            layer=record.layer,
            component=record.component,
            step=record.step,
            positions=record.positions,
            is_input=record.is_input,
            dtype="float32",
            data=values,
            visit=record.visit,
            position_list=record.position_list,
            feature_set=self.bound.set_id,
            n_features=self.bound.n_features,
            sequences=len(value),
            indices=indices,
            offsets=offsets,
        )

    def _dense(self, sequence: mx.array) -> list[np.ndarray]:
        """The wanted features of a sequence ``[positions, d_in]``, some positions at a time."""
        parts = []
        for first in range(0, len(sequence), AT_ONCE):
            features = self._encoder(sequence[first : first + AT_ONCE])
            if self._chosen is not None and features.shape[-1] != len(self._chosen):
                features = features[:, mx.array(self._chosen)]
            parts.append(np.array(features))
        return parts
