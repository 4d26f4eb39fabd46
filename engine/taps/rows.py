"""Rows: sequences that share a pass, of one token each, and what each of them does to its own.

The newest keys of all rows are the last ones: a row that is shorter than another has padding
before its first key.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import mlx.core as mx

from engine.errors import PROCESS_EXITS
from engine.taps.points import UNSEEN, Point, Span, Visitor, Visitors


class Row(Protocol):
    """One sequence of a batch: `position` is that of the token which its pass is over.

    `error` is what made it fail.
    """

    position: int
    error: Exception | None


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
        self._has_keys = point.component in UNSEEN

    def __call__(self, value: mx.array, span: Span) -> mx.array:
        changed = value
        for index, visitor in self._visitors:
            row = self._rows[index]
            with failing(row):
                first_key = value.shape[-1] - row.position - 1 if self._has_keys else 0
                place = (slice(index, index + 1), ..., slice(first_key, None))
                shown = value[place]
                answer = visitor(shown, Span(row.position, 1))
                if answer is not shown:
                    changed = mx.array(value) if changed is value else changed
                    changed[place] = answer.astype(value.dtype)
        return changed
