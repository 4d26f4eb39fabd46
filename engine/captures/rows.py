"""Keeps what the hooks of several runs ask for of one pass that they share, a row each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import mlx.core as mx

from engine.captures.joined import Joined, JoinedValues
from engine.captures.recorder import Recorder
from engine.captures.subsets import Selection, Subset
from engine.taps.points import Point, Span, canonical
from engine.taps.rows import Row, failing

TOKEN = Span(0, 1)
"""A pass that rows share has one token of each."""


class RowMark(NamedTuple):
    """What the run of one row keeps at a point."""

    row: int
    selection: Selection


def marks_of(recorders: Mapping[int, Recorder]) -> dict[Point, list[RowMark]]:
    """What the recorders of some rows keep, by point."""
    marks: dict[Point, list[RowMark]] = {}
    for row, recorder in recorders.items():
        for point, selections in recorder.marks.items():
            marks.setdefault(point, []).extend(RowMark(row, each) for each in selections)
    return marks


class Form(NamedTuple):
    """How values are alike that can be joined: also in the rows that they are kept of."""

    subset: Subset
    rows: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: mx.Dtype
    order: int


@dataclass(eq=False, slots=True)
class RowGroup:
    """Values to be joined: their places in the pass, and for each row what selects them."""

    places: list[int] = field(default_factory=list)
    selections: dict[int, list[Selection]] = field(default_factory=dict)


class RowsRecorder:
    """Has each of some recorders keep its own row of a pass over one token of each row.

    The values of all rows are joined and moved to the host together. An error of one row is noted
    in the row and changes no other.
    """

    def __init__(self, rows: Sequence[Row], recorders: Sequence[Recorder]):
        self._rows = rows
        self._recorders = {row: each for row, each in enumerate(recorders) if each.marks}
        self._found_for: tuple | None = None
        self._groups: dict[Form, RowGroup] = {}
        self.marks = marks_of(self._recorders)

    def begin_pass(self, span: Span, batch: int) -> None:
        for row, recorder in self._recorders.items():
            recorder.begin_pass(self._rows[row].span, 1)

    def end_pass(
        self, result: mx.array, seen: list[list[RowMark]], values: list[mx.array]
    ) -> mx.array:
        """The pass' result, with which all that is kept is evaluated too."""
        joined = [
            self._keep(form, group, values) for form, group in self._grouped(seen, values).items()
        ]
        for row, recorder in self._recorders.items():
            with failing(self._rows[row]):
                recorder.finish_pass()
        return mx.depends(result, joined) if joined else result

    def _keep(self, form: Form, group: RowGroup, values: Sequence[mx.array]) -> mx.array:
        several = [values[place] for place in group.places]
        batch = len(self._rows)
        value = mx.concatenate(several) if len(several) > 1 else several[0]
        value = canonical(value, form.subset.axis, len(several) * batch, 1)
        value = form.subset.of(value, TOKEN, range(1))
        if len(form.rows) < batch:
            value = value.reshape(len(several), batch, *value.shape[1:])
            value = mx.take(value, mx.array(form.rows), axis=1).flatten(0, 1)
        part = mx.contiguous(value)
        joined = Joined(len(several), part)
        for place, row in enumerate(form.rows):
            recorder, position = self._recorders[row], self._rows[row].span.first
            keys = position + 1 if form.subset.has_keys else None
            own = part[place :: len(form.rows)]  # only looked at, for the size of it
            own = own if keys is None else own[..., part.shape[-1] - keys :]
            nbytes = form.subset.nbytes(own, recorder.prompt_end)
            selections = group.selections[row]
            recorder.passes[-1].add(
                JoinedValues(selections, (position,), nbytes, joined, place, keys)
            )
        return part

    def _grouped(
        self, seen: list[list[RowMark]], values: list[mx.array]
    ) -> Mapping[Form, RowGroup]:
        """The groups of a pass, found anew where it has other values than the one before, or where
        other rows are at a position that they keep."""
        keeping = {
            (row, subset)
            for row, recorder in self._recorders.items()
            for subset in recorder.subsets
            if recorder.keeps(subset)
        }
        found_for = seen, [value.shape for value in values], keeping
        if found_for != self._found_for:
            self._found_for = found_for
            self._groups = _grouped(seen, values, keeping)
        return self._groups


def _grouped(
    seen: list[list[RowMark]], values: list[mx.array], keeping: set[tuple[int, Subset]]
) -> dict[Form, RowGroup]:
    subsets: dict[tuple, Subset] = {}
    groups: dict[Form, RowGroup] = {}
    for place, (marks, value) in enumerate(zip(seen, values, strict=True)):
        wanted: dict[Subset, dict[int, list[Selection]]] = {}
        for row, selection in marks:
            if (row, selection.subset) in keeping:
                subset = selection.subset.of_one_token(subsets)
                wanted.setdefault(subset, {}).setdefault(row, []).append(selection)
        for subset, selections in wanted.items():
            for order in range(max(map(len, selections.values()))):
                chosen = {row: each[order] for row, each in selections.items() if order < len(each)}
                form = Form(subset, tuple(chosen), value.shape, value.dtype, order)
                group = groups.setdefault(form, RowGroup())
                group.places.append(place)
                for row, selection in chosen.items():
                    group.selections.setdefault(row, []).append(selection)
    return groups
