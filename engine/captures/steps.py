"""The records of one step of a run, from the forward passes that it took."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.captures.passes import PassPart
from engine.captures.records import Activations, CapturedActivation, by_hook, listed
from engine.captures.subsets import Selection
from engine.taps.points import UNSEEN


def records(taken: Sequence[PassPart]) -> Activations:
    """The records of one step, made of one pass or of several, such as a prompt's chunks.

    Rows of scores and patterns from chunks are as long as those of the last, with -inf and 0 for
    the keys that came later.
    """
    if len(taken) == 1 and taken[0].is_whole():
        return taken[0].source.host_records().activations
    pieces: dict[tuple[Selection, int], list[CapturedActivation]] = {}
    for part in taken:
        for selection, record in part.records():
            pieces.setdefault((selection, record.visit), []).append(record)
    return by_hook(_stitched(parts, selection) for (selection, _), parts in pieces.items())


def _stitched(parts: list[CapturedActivation], selection: Selection) -> CapturedActivation:
    if len(parts) == 1:
        return parts[0]
    subset = selection.subset
    data = _concatenated([record.data for record in parts], selection)
    covered = [position for record in parts for position in record.covered]
    if isinstance(subset.positions, tuple):  # asked for in an order of their own
        asked = [position for position in subset.positions if position in covered]
        data = data.take([covered.index(position) for position in asked], subset.axis)
        covered = asked
    return replace(
        parts[0], positions=(covered[0], covered[-1]), position_list=listed(covered), data=data
    )


def _concatenated(values: list[np.ndarray], selection: Selection) -> np.ndarray:
    if selection.subset.has_keys:
        keys = max(value.shape[-1] for value in values)
        fill = UNSEEN[selection.point.component]
        values = [_widened(value, keys, fill) for value in values]
    return np.concatenate(values, axis=selection.subset.axis)


def _widened(rows: np.ndarray, keys: int, fill: float) -> np.ndarray:
    later = [(0, 0)] * (rows.ndim - 1) + [(0, keys - rows.shape[-1])]
    return np.pad(rows, later, constant_values=_bits(fill, rows.dtype))


def _bits(fill: float, dtype: np.dtype) -> float | int:
    """A number as it is in data: bfloat16's bits are the upper half of float32's."""
    return int(np.float32(fill).view(np.uint32) >> 16) if dtype == np.uint16 else fill
