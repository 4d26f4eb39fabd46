"""One weight of a model in the field's orientation: which numbers of which layer it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.weights import dense

Part = Mapping[str, int | Sequence[int]]
"""Indices by axis: one index takes the axis away, several leave it."""


@dataclass(frozen=True, eq=False)
class Side:
    """The outputs of a linear layer, or its inputs, as axes of a weight.

    `places` are the numbers of the outputs (inputs) along these `axes`; `scale` is the constant by
    which the model multiplies each, `shift` what it adds to it: arrays of the shape of `places`,
    or one number.
    """

    axes: tuple[str, ...]
    places: np.ndarray
    scale: np.ndarray | float = 1.0
    shift: np.ndarray | float = 0.0

    @classmethod
    def whole(cls, axis: str, size: int, scale: float = 1.0) -> "Side":
        """All of them, as they are."""
        return cls((axis,), np.arange(size), scale)

    def part(self, part: Part) -> "Side":
        """Those at some indices."""
        index = np.ix_(*(np.atleast_1d(part.get(axis, range(n))) for axis, n in self._sizes))
        single = tuple(i for i, axis in enumerate(self.axes) if isinstance(part.get(axis), int))
        arrays = (self.places, *np.broadcast_arrays(self.scale, self.shift, self.places)[:2])
        picked = [array[index].squeeze(single) for array in arrays]
        left = tuple(axis for i, axis in enumerate(self.axes) if i not in single)
        return Side(left, *picked)

    @property
    def _sizes(self) -> list[tuple[str, int]]:
        return list(zip(self.axes, self.places.shape, strict=True))

    @property
    def flat_scale(self) -> mx.array:
        return _flat(self.scale, self.places)

    @property
    def flat_shift(self) -> mx.array:
        return _flat(self.shift, self.places)

    @property
    def flat_places(self) -> mx.array:
        return mx.array(self.places.reshape(-1))


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight by its name, such as ``W_Q``; `layer` is None if it is the whole model's.

    It is made of the weight of the `module` at `path`, whose `outputs` and `inputs` are the axes;
    a bias has no inputs. `axes` says in which order they come. Of a module with a weight for each
    of several `experts` there is one more axis, the first. `notes` say what the model does beside.
    """

    name: str
    layer: int | None
    axes: tuple[str, ...]
    module: nn.Module
    path: str
    outputs: Side
    inputs: Side | None = None
    experts: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """The length of each axis, in the order of `axes`."""
        sizes = {"expert": self.experts} if self.experts else {}
        for side in filter(None, (self.outputs, self.inputs)):
            sizes.update(zip(side.axes, side.places.shape, strict=True))
        return {axis: sizes[axis] for axis in self.axes}

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.sizes.values())

    def shape_of(self, part: Part) -> tuple[int, ...]:
        """The shape of a part."""
        sizes = {a: n if a not in part else _count(part[a]) for a, n in self.sizes.items()}
        return tuple(n for n in sizes.values() if n is not None)

    def array(self, part: Part | None = None) -> mx.array:
        """The weight in float32, or the part of it at some indices of its axes."""
        part = part or {}
        expert = cast(int | None, part.get("expert") if self.experts else None)
        outputs = self.outputs.part(part)
        inputs = self.inputs.part(part) if self.inputs else None
        array = (
            self._vector(outputs, expert)
            if inputs is None
            else self._matrix(outputs, inputs, expert)
        )
        names = [*outputs.axes, *(inputs.axes if inputs else ())]
        sizes = [*outputs.places.shape, *(inputs.places.shape if inputs else ())]
        if self.experts and expert is None:
            names, sizes = ["expert", *names], [self.experts, *sizes]
        wanted = [names.index(axis) for axis in self.axes if axis in names]
        return array.reshape(sizes).transpose(wanted)

    def _matrix(self, outputs: Side, inputs: Side, expert: int | None) -> mx.array:
        rows = dense.matrix(self.module, expert=expert, rows=outputs.flat_places)
        matrix = rows[..., inputs.flat_places] * inputs.flat_scale
        return matrix * outputs.flat_scale[:, None]

    def _vector(self, outputs: Side, expert: int | None) -> mx.array:
        bias = dense.bias(self.module)
        if bias is None:
            return outputs.flat_shift
        bias = bias if expert is None else bias[expert]
        picked = bias[..., outputs.flat_places]
        return picked * outputs.flat_scale + outputs.flat_shift


def _count(index: int | Sequence[int]) -> int | None:
    return None if isinstance(index, int) else len(index)


def nbytes(shape: tuple[int, ...]) -> int:
    """The size in bytes of a float32 array of a shape."""
    return 4 * prod(shape)


def _flat(values: np.ndarray | float, like: np.ndarray) -> mx.array:
    return mx.array(np.broadcast_to(values, like.shape).reshape(-1).astype(np.float32))
