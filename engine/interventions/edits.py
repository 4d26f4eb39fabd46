"""What an intervention does to a value, pass by pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.components import ComponentType
from engine.errors import InterventionError
from engine.interventions.intervention import Intervention
from engine.taps.points import UNSEEN, Point, Span, sequence_axis


class Edit:
    """One intervention at one point: the visitor that makes the change.

    `positions` are absolute and counted from 0; `acted` says whether a value was there to change.
    """

    def __init__(self, intervention: Intervention, point: Point, positions: Sequence[int] | None):
        self.intervention = intervention
        self.point = point
        self.positions = positions
        self.acted = False

    def __call__(self, value: mx.array, span: Span) -> mx.array:
        part = self._part(value, span)
        if not part.positions:
            return value
        self.acted = True
        changed = OPERATIONS[self.intervention.operation](self, part)
        if changed is None:
            return value
        edited = mx.array(value)
        edited[part.index] = changed.astype(value.dtype)
        if self.point.component is ComponentType.ATTENTION_SCORES:
            return mx.where(value == -mx.inf, value, edited)
        return edited

    @property
    def name(self) -> str:
        where = "" if self.point.layer is None else f" in layer {self.point.layer}"
        return f"{self.intervention.operation} of {self.point.component}{where}"

    def _part(self, value: mx.array, span: Span) -> "Part":
        axis = sequence_axis(self.point)
        index = [slice(None)] * axis
        here = range(span.first, span.first + span.length)
        positions = [p for p in self.positions or here if p in here]
        if self.positions is not None:
            index.append(mx.array([p - span.first for p in positions]))
        if self.intervention.heads is not None:
            heads = mx.array(self.intervention.heads)
            index[1] = heads if self.positions is None else heads[:, None]
        return Part(value, tuple(index), axis, tuple(positions))

    def given(self, array: np.ndarray, part: "Part") -> mx.array:
        """The part of an array given for all positions that this pass' positions need."""
        asked = part.positions if self.positions is None else self.positions
        shape = list(part.slice.shape)
        shape[part.axis] = len(asked)
        try:
            whole = np.broadcast_to(array, shape)
        except ValueError:
            raise InterventionError(
                f"{self.name}: a value of shape {np.shape(array)} does not fit the slice "
                f"of shape {tuple(shape)}"
            ) from None
        row_of = {position: row for row, position in enumerate(asked)}
        return mx.array(np.take(whole, [row_of[p] for p in part.positions], part.axis))


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
    return part.slice * edit.intervention.factor


def _addition(edit: Edit, part: Part) -> mx.array:
    return part.slice + edit.given(edit.intervention.value, part)


def _replacement(edit: Edit, part: Part) -> mx.array:
    return edit.given(edit.intervention.value, part)


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
    return part.slice + mx.array(noise * edit.intervention.scale)


def _function(edit: Edit, part: Part) -> mx.array | None:
    value = np.array(part.slice.astype(mx.float32))
    answer = edit.intervention.function(value, edit.point, part.positions)
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
    "noise": _noise,
    "function": _function,
}
