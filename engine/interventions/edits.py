"""What an intervention does to a value, pass by pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import mlx.core as mx
import numpy as np

from engine.components import ComponentType
from engine.errors import InterventionError
from engine.interventions.intervention import Function, Intervention
from engine.taps.points import UNSEEN, Point, Span, sequence_axis
from engine.taps.position_sets import within


class Edit:
    """One intervention at one point: the visitor that makes the change.

    `positions` are absolute and counted from 0, None those of every pass; from `prompt_end` on
    there are as many as are generated. `acted` says whether a value was there to change.
    """

    def __init__(
        self,
        intervention: Intervention,
        point: Point,
        positions: range | tuple[int, ...] | None,
        prompt_end: int,
    ):
        self.intervention = intervention
        self.operation = intervention.operation
        self.point = point
        self.positions = positions
        self.prompt_end = prompt_end
        self.acted = False

    def __call__(self, value: mx.array, span: Span) -> mx.array:
        part = self._part(value, span)
        if not part.positions:
            return value
        self.acted = True
        changed = OPERATIONS[self.operation](self, part)
        if changed is None:
            return value
        edited = mx.array(value)
        edited[part.index] = changed.astype(value.dtype)
        if self.point.component is ComponentType.ATTENTION_SCORES:
            return mx.where(value == -mx.inf, value, edited)
        return edited

    @property
    def first(self) -> int:
        """The first position that is to change."""
        if self.positions is None:
            return 0
        return self.positions[0] if isinstance(self.positions, range) else min(self.positions)

    @property
    def name(self) -> str:
        where = "" if self.point.layer is None else f" in layer {self.point.layer}"
        return f"{self.operation} of {self.point.component}{where}"

    def _part(self, value: mx.array, span: Span) -> "Part":
        axis = sequence_axis(self.point)
        index: list[slice | mx.array] = [slice(None)] * axis
        here = range(span.first, span.first + span.length)
        positions = within(self.positions, (), here)
        is_list = isinstance(self.positions, tuple)
        if is_list:
            index.append(mx.array([p - span.first for p in positions]))
        elif len(positions) < span.length and positions:
            index.append(slice(positions[0] - span.first, positions[-1] + 1 - span.first))
        if self.intervention.heads is not None:
            heads = mx.array(self.intervention.heads)
            index[1] = heads[:, None] if is_list else heads
        return Part(value, tuple(index), axis, tuple(positions))

    def given(self, array: np.ndarray, part: "Part") -> mx.array:
        """The part of an array given for all positions that this pass' positions need."""
        asked = self._positions_of_value(part)
        shape = list(part.slice.shape)
        shape[part.axis] = len(asked)
        array = self._keys_so_far(array, shape)
        try:
            whole = np.broadcast_to(array, shape)
        except ValueError:
            raise InterventionError(
                f"{self.name}: a value of shape {np.shape(array)} does not fit the slice "
                f"of shape {tuple(shape)}"
            ) from None
        if len(asked) == len(part.positions):
            return mx.array(whole)
        row_of = {position: row for row, position in enumerate(asked)}
        return mx.array(np.take(whole, [row_of[p] for p in part.positions], part.axis))

    def unit_direction(self, width: int) -> mx.array:
        """The direction that is given, at length 1."""
        if self.point.component in UNSEEN:
            raise InterventionError(
                f"{self.name}: its last axis is one of keys, with no directions"
            )
        direction = np.asarray(self.intervention.value, np.float64)
        length = np.linalg.norm(direction)
        if direction.shape != (width,) or not (np.isfinite(length) and length > 0):
            raise InterventionError(
                f"{self.name}: a direction of {width} numbers is needed, not all of them zero, and "
                f"this one of shape {direction.shape} has the length {length:g}"
            )
        return mx.array((direction / length).astype(np.float32))

    def _positions_of_value(self, part: "Part") -> Sequence[int]:
        """Those that one value is given for: all, or this pass' of as many as will come."""
        positions = self.positions
        if positions is None or (isinstance(positions, range) and positions.stop > self.prompt_end):
            return part.positions
        return positions

    def _keys_so_far(self, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """A value's rows without the keys that come after this pass, where it is one of several."""
        keys = np.shape(array)[-1:]
        if self.point.component not in UNSEEN or keys != (self.prompt_end,):
            return array
        return array[..., : shape[-1]]


@dataclass(frozen=True)
class Part:
    """The slice of a value that changes: where it is, and the positions that it covers."""

    value: mx.array
    index: tuple
    axis: int
    positions: tuple[int, ...]

    @property
    def slice(self) -> mx.array:
        return self.value[self.index]


def _ablation(edit: Edit, part: Part) -> mx.array:
    return mx.zeros_like(part.slice)


def _mean(edit: Edit, part: Part) -> mx.array:
    value = part.value.astype(mx.float32)
    seen = value != UNSEEN.get(edit.point.component, mx.nan)
    total = mx.where(seen, value, 0).sum(part.axis, keepdims=True)
    mean = total / seen.sum(part.axis, keepdims=True)
    return mx.where(seen, mean, value)[part.index]


def _scaling(edit: Edit, part: Part) -> mx.array:
    return part.slice * cast(float, edit.intervention.factor)


def _addition(edit: Edit, part: Part) -> mx.array:
    return part.slice + edit.given(cast(np.ndarray, edit.intervention.value), part)


def _replacement(edit: Edit, part: Part) -> mx.array:
    return edit.given(cast(np.ndarray, edit.intervention.value), part)


def _projection(edit: Edit, part: Part) -> mx.array:
    unit = edit.unit_direction(part.slice.shape[-1])
    value = part.slice.astype(mx.float32)
    return value - (value * unit).sum(-1, keepdims=True) * unit


def _noise(edit: Edit, part: Part) -> mx.array:
    shape = part.slice.shape
    where = (edit.intervention.seed, edit.point.layer or 0, *edit.point.component.encode())
    noise = np.stack(
        [
            np.random.default_rng((position, *where)).standard_normal(
                shape[: part.axis] + shape[part.axis + 1 :], np.float32
            )
            for position in part.positions
        ],
        part.axis,
    )
    return part.slice + mx.array(noise * cast(float, edit.intervention.scale))


def _function(edit: Edit, part: Part) -> mx.array | None:
    value = np.array(part.slice.astype(mx.float32))
    function = cast(Function, edit.intervention.function)
    answer = function(value, edit.point, part.positions)
    if answer is None:
        return None
    try:
        return mx.array(np.broadcast_to(np.asarray(answer, np.float32), value.shape))
    except ValueError:
        raise InterventionError(
            f"{edit.name}: the function returned shape {np.shape(answer)} for the slice of shape "
            f"{value.shape}"
        ) from None


OPERATIONS: dict[str, Callable[[Edit, Part], mx.array | None]] = {
    "ablation": _ablation,
    "mean": _mean,
    "scaling": _scaling,
    "addition": _addition,
    "replacement": _replacement,
    "patching": _replacement,
    "projection": _projection,
    "noise": _noise,
    "function": _function,
}
