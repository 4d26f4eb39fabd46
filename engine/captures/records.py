"""From values inside a forward pass to records in numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from engine.captures.passes import Selection, Taken
from engine.components import ComponentType
from engine.taps.points import UNSEEN, Point, sequence_axis


@dataclass(eq=False, slots=True)
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
    pieces: dict[tuple[Selection, int], list[tuple[Sequence[int], np.ndarray]]] = {}
    for part in taken:
        for kept, positions, value in part.values():
            pieces.setdefault((kept.selection, kept.turn), []).append((positions, value))
    activations: Activations = {}
    for (selection, turn), parts in pieces.items():
        hook = selection.hook
        data = _stitched([value for _, value in parts], selection.point)
        record = CapturedActivation(
            hook_id=hook.hook_id,
            layer_name=hook.layer_name,
            layer=hook.layer,
            component=hook.component,
            step=step,
            positions=(parts[0][0][0], parts[-1][0][-1]),
            is_input=selection.is_input,
            dtype=_dtype_name(data.dtype),
            data=data,
            turn=turn,
        )
        activations.setdefault(hook.hook_id, []).append(record)
    return activations


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
