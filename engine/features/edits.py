"""What changes of features do to a model's values, pass by pass.

What is read at one point may be written at others: whoever reads leaves it for them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.errors import InterventionError
from engine.features.bound import BoundLayer, BoundSet
from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.values import ValueForm
from engine.taps.points import Point, Span, sequence_axis
from engine.taps.position_sets import within

RunPositions = range | tuple[int, ...] | None
At = Callable[[mx.array, Sequence[int]], mx.array | None]
"""Sees a value ``[batch, positions, width]`` and which positions these are; may return another."""


@dataclass(eq=False)
class ValueEdit:
    """Sees and changes the selected positions of the value at one point, in float32."""

    name: str
    form: ValueForm
    positions: RunPositions
    at: At
    operation: str = "features"
    acted: bool = False

    @property
    def point(self) -> Point:
        return self.form.point

    @property
    def first(self) -> int:
        """The first position that is to change."""
        if self.positions is None:
            return 0
        return self.positions[0] if isinstance(self.positions, range) else min(self.positions)

    def __call__(self, value: mx.array, span: Span) -> mx.array:
        here = within(self.positions, (), range(span.first, span.first + span.length))
        if not here:
            return value
        self.acted = True
        index: slice | mx.array = slice(None)
        if len(here) < span.length or isinstance(self.positions, tuple):
            index = mx.array([position - span.first for position in here])
        place = (slice(None),) * sequence_axis(self.point) + (index,)
        part = value[place]
        changed = self.at(self.form.flat(part), here)
        if changed is None:
            return value
        edited = mx.array(value)
        edited[place] = self.form.restored(changed, part)
        return edited


class FeatureEdit:
    """Changes features of one layer of a set, and adds the difference to all that they write."""

    def __init__(
        self,
        layer: BoundLayer,
        operation: str,
        features: tuple[int, ...],
        positions: RunPositions,
        factor: float | None,
        value: np.ndarray | None,
        name: str,
    ):
        self._layer = layer
        self._change = {
            "ablation": lambda f, where: -f,
            "scaling": lambda f, where: (factor or 0.0) * f - f,
            "replacement": lambda f, where: self._given(where) - f,
            "addition": lambda f, where: mx.broadcast_to(self._given(where), f.shape),
        }[operation]
        self._positions = positions
        self._value = value
        self._name = name
        self._indices = mx.array(features)
        encoder = layer.layer.encoder
        self._is_local = encoder.activation.is_local
        self._encoder = encoder.of_features(self._indices) if self._is_local else encoder
        self._rows = [rows(self._indices) for _, rows in layer.layer.decoder_rows]
        self._difference: mx.array | None = None
        self._check_value()

    def edits(self) -> Iterator[ValueEdit]:
        """The edit that reads, then those that write, where that is elsewhere."""
        reads = self._layer.reads
        for step, form in enumerate(self._layer.writes):
            if form.point == reads.point:
                yield ValueEdit(self._name, form, self._positions, self._at_once)
                return
            if step == 0:
                yield ValueEdit(self._name, reads, self._positions, self._read)
            yield ValueEdit(self._name, form, self._positions, self._writing(self._rows[step]))

    def _at_once(self, value: mx.array, where: Sequence[int]) -> mx.array:
        self._read(value, where)
        return value + self._read_difference @ self._rows[0]

    def _read(self, value: mx.array, where: Sequence[int]) -> None:
        features = self._encoder(value)
        if not self._is_local:
            features = mx.take(features, self._indices, axis=-1)
        difference = self._change(features, where)
        scale = self._layer.layer.scale
        self._difference = difference if scale is None else difference * scale.scale(value)

    def _writing(self, rows: mx.array) -> At:
        return lambda value, where: value + self._read_difference @ rows

    @property
    def _read_difference(self) -> mx.array:
        if self._difference is None:
            raise _too_early(self._name)
        return self._difference

    def _given(self, where: Sequence[int]) -> mx.array:
        """The value for these positions, broadcastable to ``[1, positions, n]``."""
        value = np.asarray(self._value, np.float32)
        if value.ndim < 2 or value.shape[-2] == 1:
            return mx.array(value)
        asked = list(self._positions or ())
        return mx.array(value[..., [asked.index(position) for position in where], :])

    def _check_value(self) -> None:
        if self._value is None:
            return
        positions = 1 if self._positions is None else len(self._positions)
        wanted = (positions, len(self._indices))
        try:
            np.broadcast_to(self._value, wanted)
        except ValueError:
            raise InterventionError(
                f"{self._name}: a value of shape {np.shape(self._value)} does not fit "
                f"{len(self._indices)} features"
                + (f" at {positions} positions" if positions > 1 else "")
            ) from None


class SpliceEdit:
    """Puts the reconstruction in the place of all values that a set writes."""

    def __init__(self, bound: BoundSet, positions: RunPositions, name: str):
        self._set = bound.feature_set
        self._layers = bound.layers
        self._positions = positions
        self._name = name
        self._read: list[mx.array] = []
        self._features: list[mx.array] = []

    def edits(self) -> Iterator[ValueEdit]:
        for number, layer in enumerate(self._layers):
            writes = layer.writes[0]
            if writes.point == layer.reads.point:
                at = self._at_once(number)
            else:
                yield ValueEdit(self._name, layer.reads, self._positions, self._reading(number))
                at = self._writing(number)
            yield ValueEdit(self._name, writes, self._positions, at)

    def _at_once(self, number: int) -> At:
        def both(value: mx.array, where: Sequence[int]) -> mx.array:
            self._encode(number, value)
            return self._reconstruction(number)

        return both

    def _reading(self, number: int) -> At:
        def read(value: mx.array, where: Sequence[int]) -> None:
            self._encode(number, value)

        return read

    def _writing(self, number: int) -> At:
        return lambda value, where: self._reconstruction(number)

    def _encode(self, number: int, value: mx.array) -> None:
        del self._read[number:], self._features[number:]
        self._read.append(value)
        self._features.append(self._layers[number].layer.encoder(value))

    def _reconstruction(self, number: int) -> mx.array:
        if len(self._features) <= number:
            raise _too_early(self._name)
        if isinstance(self._set, CrossLayerTranscoder):
            return self._set.decode_layer(number, self._features, self._read[number])
        return self._set.decode(self._features[number], self._read[number])


def _too_early(name: str) -> InterventionError:
    return InterventionError(
        f"{name} cannot act: the model calculates what the set writes before what it reads"
    )
