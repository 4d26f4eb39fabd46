"""From values inside a forward pass to records in numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from engine.captures.recorder import SMALL, Kept, Taken
from engine.components import ComponentType
from engine.taps.points import UNSEEN, Point, sequence_axis


@dataclass(frozen=True)
class CapturedActivation:
    """One activation of one step: step 0 is the whole prompt, step k one generated token.

    `positions` are the first and last position of the sequence that `data` covers. With dtype
    ``bfloat16``, for which numpy has no type, `data` holds the same bits as uint16. `turn` counts
    the records of one step where a model runs through a layer several times.
    """

    hook_id: str
    layer_name: str
    layer: int | None
    component: ComponentType
    step: int
    positions: tuple[int, int]
    is_input: bool
    dtype: str
    data: np.ndarray
    turn: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    @property
    def metadata(self) -> dict[str, Any]:
        """All but the data, ready for JSON."""
        return {
            "hook_id": self.hook_id,
            "layer_name": self.layer_name,
            "layer": self.layer,
            "component": self.component.value,
            "step": self.step,
            "positions": list(self.positions),
            "shape": list(self.shape),
            "dtype": self.dtype,
            "byte_order": "little",
            "is_input": self.is_input,
        }


Activations = dict[str, list[CapturedActivation]]


def records(taken: Sequence[Taken], step: int) -> Activations:
    """The records of one step, made of one pass or of several, such as a prompt's chunks.

    Rows of scores and patterns from chunks are as long as those of the last, with -inf and 0 for
    the keys that came later.
    """
    pieces: dict[tuple[int, int], list[Piece]] = {}
    for part in taken:
        whole = part.is_whole()
        for group, stack in part.source.stacks:
            for kept, value in zip(group, np.array(stack), strict=True):
                places = None if whole else part.places(kept.positions)
                if whole or places:
                    key = id(kept.selection), kept.turn
                    pieces.setdefault(key, []).append(Piece(kept, value, places, part.stop))
    activations: Activations = {}
    for parts in pieces.values():
        record = _record(parts, step)
        activations.setdefault(record.hook_id, []).append(record)
    return activations


class Piece(NamedTuple):
    """What one hook kept of one pass, in numpy: of its positions, `places` (None: all) are wanted.

    `end` is the position after the last.
    """

    kept: Kept
    value: np.ndarray
    places: list[int] | None
    end: int

    @property
    def positions(self) -> Sequence[int]:
        """The positions that are wanted."""
        positions = self.kept.positions
        return positions if self.places is None else [positions[i] for i in self.places]

    def chosen(self) -> np.ndarray:
        """The wanted positions only, and no keys after them; it owns its memory."""
        point = self.kept.selection.point
        value = self.value
        if self.places is not None:
            value = value.take(self.places, sequence_axis(point))
        if point.component in UNSEEN and value.shape[-1] > self.end:
            value = value[..., : self.end]
        return value if value.nbytes >= SMALL and value.flags.c_contiguous else value.copy()


def _record(parts: list[Piece], step: int) -> CapturedActivation:
    kept = parts[0].kept
    selection = kept.selection
    hook = selection.hook
    data = _stitched([part.chosen() for part in parts], selection.point)
    return CapturedActivation(
        hook_id=hook.hook_id,
        layer_name=hook.layer_name,
        layer=hook.layer,
        component=hook.component,
        step=step,
        positions=(parts[0].positions[0], parts[-1].positions[-1]),
        is_input=selection.is_input,
        dtype=_dtype_name(data.dtype),
        data=data,
        turn=kept.turn,
    )


@cache
def _dtype_name(dtype: np.dtype) -> str:
    return "bfloat16" if dtype == np.uint16 else dtype.name


def numbers(data: np.ndarray, dtype: str) -> np.ndarray:
    """The data as numbers: bfloat16's bits are widened to float32."""
    return (data.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else data


def _stitched(values: list[np.ndarray], point: Point) -> np.ndarray:
    if len(values) == 1:
        return values[0]
    if point.component in UNSEEN:
        keys = max(value.shape[-1] for value in values)
        fill = UNSEEN[point.component]
        values = [_widened(value, keys, fill) for value in values]
    return np.concatenate(values, axis=sequence_axis(point))


def _widened(rows: np.ndarray, keys: int, fill: float) -> np.ndarray:
    later = [(0, 0)] * (rows.ndim - 1) + [(0, keys - rows.shape[-1])]
    return np.pad(rows, later, constant_values=_bits(fill, rows.dtype))


def _bits(fill: float, dtype: np.dtype) -> float | int:
    """A number as it stands in data: bfloat16's bits are the upper half of float32's."""
    return int(np.float32(fill).view(np.uint32) >> 16) if dtype == np.uint16 else fill
