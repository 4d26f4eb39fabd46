"""Rows: sequences that share a pass, and what each of them does to its own.

A row whose part of the pass is shorter than another's has padding after it. Keys of the pass come
last in all rows: one that had fewer tokens before has padding before its first key.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import mlx.core as mx

from engine.errors import PROCESS_EXITS
from engine.taps.points import UNSEEN, Point, Span, Visitor, Visitors, sequence_axis


class Row(Protocol):
    """One sequence of a batch: `span` is what a pass covers of it, `error` what made it fail."""

    error: Exception | None

    @property
    def span(self) -> Span: ...


def place_of(row: int, span: Span, shape: Sequence[int], axis: int, has_keys: bool) -> tuple:
    """Where a row's own part is in a value of a pass over `span` of it, whose `axis` counts
    positions and, with keys, whose last counts keys."""
    place = [slice(row, row + 1), *[slice(None)] * (len(shape) - 1)]
    place[axis] = slice(0, span.length)
    if has_keys:
        first = shape[-1] - shape[axis] - span.first
        place[-1] = slice(first, first + span.first + span.length)
    return tuple(place)


@contextmanager
def failing(row: Row) -> Iterator[None]:
    """Note an error in the row that it belongs to, where no other row notices; the first counts.

    What is raised in another language, such as a panic in Rust, is an error too.
    """
    try:
        yield
    except Exception as error:
        row.error = row.error or error
    except PROCESS_EXITS:
        raise
    except BaseException as panic:
        row.error = row.error or RuntimeError(f"{type(panic).__name__}: {panic}")


def row_visitors(rows: Sequence[Row], visitors: Sequence[Visitors]) -> Visitors:
    """Visitors of a pass that rows share, each of which sees and changes its own row alone."""
    at: dict[Point, list[tuple[int, Visitor]]] = {}
    for index, each in enumerate(visitors):
        for point, visitor in each.items():
            at.setdefault(point, []).append((index, visitor))
    return {point: _RowsVisitor(rows, point, several) for point, several in at.items()}


class _RowsVisitor:
    def __init__(self, rows: Sequence[Row], point: Point, visitors: list[tuple[int, Visitor]]):
        self._rows = rows
        self._visitors = visitors
        self._axis = sequence_axis(point)
        self._has_keys = point.component in UNSEEN

    def __call__(self, value: mx.array, span: Span) -> mx.array:
        changed = value
        for index, visitor in self._visitors:
            row = self._rows[index]
            with failing(row):
                place = place_of(index, row.span, value.shape, self._axis, self._has_keys)
                shown = value[place]
                answer = visitor(shown, row.span)
                if answer is not shown:
                    changed = mx.array(value) if changed is value else changed
                    changed[place] = answer.astype(value.dtype)
        return changed
