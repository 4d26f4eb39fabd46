"""A model's values as a feature set reads them: ``[batch, positions, width]`` in float32."""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.components import ComponentType as C
from engine.errors import FeatureSetError
from engine.structure.resolver import Structure
from engine.taps.points import Point, sequence_axis

SCORES = frozenset({C.ATTENTION_SCORES, C.ATTENTION_PATTERN})
PROBE = 1e3
SMALLEST = 1e-6
"""The least weight of a norm that may be divided by, beside the largest."""


@dataclass(frozen=True, eq=False)
class ValueForm:
    """How the value at a point of one model is read and written.

    Heads and width are one axis. `norm` are a norm's weight and bias ``[width]`` that are taken
    back, where the value before them is read.
    """

    point: Point
    width: int
    heads: int | None
    norm: tuple[mx.array, mx.array] | None = None

    @classmethod
    def of(
        cls, structure: Structure, point: Point, before_norm_weight: bool = False
    ) -> "ValueForm":
        """The form of a point that the model has. Raises FeatureSetError."""
        found = point
        if point.is_input:
            entering = structure.input_of(point.layer, point.component)
            found = entering or point
        if found not in structure.shapes:
            reason = structure.absent.get((point.layer, point.component), "it is not in the model")
            side = "the input of " if point.is_input else ""
            where = "" if point.layer is None else f" of layer {point.layer}"
            raise FeatureSetError(f"there is no value of {side}{point.component}{where}: {reason}")
        shape = structure.shapes[found]
        heads = shape[1] if sequence_axis(found) == 2 else None
        if len(shape) != (3 if heads is None else 4) or found.component in SCORES:
            raise FeatureSetError(f"{found.default_id} has no one vector a position")
        width = shape[-1] * (heads or 1)
        norm = _norm_before(structure, found) if before_norm_weight else None
        return cls(found, width, heads, norm)

    def flat(self, value: mx.array) -> mx.array:
        """``[batch, positions, width]`` in float32 of a value in its component's shape."""
        if self.heads is not None:
            value = value.swapaxes(1, 2).flatten(2)
        value = value.astype(mx.float32)
        if self.norm is not None:
            weight, bias = self.norm
            value = (value - bias) / weight
        return value

    def flat_record(self, data: np.ndarray) -> mx.array:
        """The same of a captured value."""
        return self.flat(mx.array(data))

    def restored(self, flat: mx.array, like: mx.array) -> mx.array:
        """A flat value that was written, in the shape and dtype of the model's."""
        if self.norm is not None:
            weight, bias = self.norm
            flat = flat * weight + bias
        if self.heads is not None:
            batch, length, _ = flat.shape
            flat = flat.reshape(batch, length, self.heads, -1).swapaxes(1, 2)
        return flat.astype(like.dtype)


def _norm_before(structure: Structure, point: Point) -> tuple[mx.array, mx.array]:
    """The weight and the bias of the norm whose output is at a point.

    Found by what it makes of two opposite vectors of mean 0 and known scale, so that it does not
    matter how its code writes them (Gemma's adds 1). Raises FeatureSetError.
    """
    by_id = {id(module): module for module in structure.model.modules()}
    norms = [
        by_id[key]
        for (key, is_input), points in structure.module_points.items()
        if not is_input and point in points and key in by_id
    ]
    norms = [module for module in norms if "norm" in type(module).__name__.lower()]
    if not norms:
        raise FeatureSetError(f"no norm's output is the value at {point.default_id}")
    weight, bias = _probed(norms[0], structure.shapes[point][-1])
    size = mx.abs(weight)
    if (size.min() <= SMALLEST * size.max()).item():
        raise FeatureSetError(
            f"the norm before {point.default_id} has a weight of 0: the value before it is lost"
        )
    return weight, bias


def _probed(norm: nn.Module, width: int) -> tuple[mx.array, mx.array]:
    signs = mx.where(mx.arange(width) % 2 == 0, 1.0, -1.0)
    if width % 2:
        signs[-1] = 0.0
    here = norm(PROBE * signs[None, None])[0, 0].astype(mx.float32)
    there = norm(-PROBE * signs[None, None])[0, 0].astype(mx.float32)
    turned = mx.roll(signs, 1)  # of an odd width, what had the 0 has another place
    again = norm(PROBE * turned[None, None])[0, 0].astype(mx.float32)
    bias = (here + there) / 2
    scale = mx.sqrt(mx.mean(signs * signs))
    weight = mx.where(
        signs != 0,
        (here - bias) * scale / mx.where(signs != 0, signs, 1),
        (again - bias) * scale / mx.where(turned != 0, turned, 1),
    )
    mx.eval(weight, bias)
    return weight, bias
