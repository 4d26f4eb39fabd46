"""Keeps what the hooks of several runs ask for of one pass over a part of each one's prompt."""

from collections.abc import Sequence

import mlx.core as mx

from engine.captures.recorder import Recorder
from engine.captures.rows import RowMark, marks_of
from engine.captures.subsets import Selection
from engine.taps.points import Span, canonical
from engine.taps.rows import Row, failing, place_of


class PromptsRecorder:
    """Has each of some recorders keep its own row of a pass, as if it were a pass of its own.

    An error of one row is noted in the row and changes no other.
    """

    def __init__(self, rows: Sequence[Row], recorders: Sequence[Recorder]):
        self._rows = rows
        self._recorders = {row: each for row, each in enumerate(recorders) if each.marks}
        self._length = 0
        self.marks = marks_of(self._recorders)

    def begin_pass(self, span: Span, batch: int) -> None:
        self._length = span.length
        for row, recorder in self._recorders.items():
            recorder.begin_pass(self._rows[row].span, 1)

    def end_pass(
        self, result: mx.array, seen: list[list[RowMark]], values: list[mx.array]
    ) -> mx.array:
        """The pass' result, with which all that is kept is evaluated too."""
        for row, recorder in self._recorders.items():
            with failing(self._rows[row]):
                own = [self._own(row, *each) for each in zip(seen, values, strict=True)]
                kept = [(selections, value) for selections, value in own if selections]
                result = recorder.end_pass(result, *map(list, zip(*kept, strict=True)))
        return result

    def _own(
        self, row: int, marks: list[RowMark], value: mx.array
    ) -> tuple[list[Selection], mx.array]:
        """What a row's hooks select of a value, and its own part of that."""
        selections = [mark.selection for mark in marks if mark.row == row]
        if not selections:
            return selections, value
        subset = selections[0].subset
        value = canonical(value, subset.axis, len(self._rows), self._length)
        span = self._rows[row].span
        return selections, value[place_of(row, span, value.shape, subset.axis, subset.has_keys)]
