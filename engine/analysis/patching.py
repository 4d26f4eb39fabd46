"""Many passes at once, each with some parts of the model replaced."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

import mlx.core as mx
import numpy as np

from engine.analysis.parts import Masks
from engine.components import ComponentType
from engine.errors import InvalidRequestError
from engine.machine.gaps import gaps_explained
from engine.runs.chunks import logits_of_chunks, passes_over
from engine.runs.finite import not_finite
from engine.runs.kit import ModelKit
from engine.runs.steps import in_steps, rows_a_step
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor, Visitors, sequence_axis

Score = Callable[[mx.array], mx.array]
"""From logits ``[batch, positions, vocab]``, of which the last position counts, to ``[batch]``."""
Values = Mapping[Point, mx.array]
"""What points are replaced with, ``[1, …]`` each."""

FINAL_NORM_INPUT = Point(None, ComponentType.FINAL_NORM, True)
WIDTH = 32
"""About how many numbers a block calculates for each position, in times the hidden size."""


@dataclass(frozen=True)
class Run:
    """One prompt's pass: its score, and its values, ``[1, …]`` each, at some points."""

    tokens: list[int]
    score: float
    values: Values

    @property
    def shapes(self) -> dict[Point, tuple[int, ...]]:
        """The shapes of the values."""
        return {point: tuple(value.shape) for point, value in self.values.items()}


@gaps_explained()
def run(kit: ModelKit, tokens: Sequence[int], points: Sequence[Point], score: Score) -> Run:
    """Run one prompt and keep its values at `points`, and what `patched_scores` starts from.

    Raises InvalidRequestError for a point that the pass does not come by exactly once,
    NotEnoughMemoryError, before it runs, for what does not fit, and NotFiniteError.
    """
    seen: dict[Point, list[mx.array]] = {}

    def keep(point: Point) -> Visitor:
        def visit(value: mx.array, span: Span) -> mx.array:
            seen.setdefault(point, []).append(value)
            return value

        return visit

    wanted = {*points, *map(_stream_before, points), FINAL_NORM_INPUT} & kit.structure.shapes.keys()
    size = _positions_a_pass(kit, 1, len(tokens), wanted)
    visitors = {point: keep(point) for point in wanted}
    scores = _scores(kit, [list(tokens)], visitors, score, size, 0)
    passes = passes_over(len(tokens), size)
    for point in points:
        times = len(seen.get(point, ()))
        if times != passes:
            raise InvalidRequestError(
                f"{point.component} of layer {point.layer} is calculated {times // passes} times "
                "in a pass of this model; only what is calculated once has an effect of its own"
            )
    values = {
        point: _joined(point, pieces) for point, pieces in seen.items() if len(pieces) == passes
    }
    mx.eval(scores, list(values.values()))
    _check(kit, np.array(scores), [list(tokens)], {})
    return Run(list(tokens), float(cast(float, scores.item())), values)


def patched_scores(
    kit: ModelKit,
    base: Run,
    rows: Iterable[Masks],
    values: Values,
    score: Score,
    batch_bytes: int,
) -> Iterator[np.ndarray]:
    """The scores of `base` with `values` in its pass where the masks of one row after another say.

    Yields scores batch by batch; the activations of one take about `batch_bytes`, or less where its
    layers would be long steps. A batch starts
    with the residual stream of `base` before the first layer that any of its rows changes, and if
    only one point of that layer is changed, with the values of `base` there: MLX evaluates only
    what the scores depend on, so nothing that lies below is calculated again. Of a long sequence,
    whose passes are over parts of it, all layers are.
    """
    remaining = iter(rows)
    length = len(base.tokens)
    most = max(1, batch_bytes // _row_bytes(kit, length))
    most = min(most, rows_a_step(kit.structure, length))
    while most > 1 and not kit.footprint.fits(most, length):
        most //= 2
    size = _positions_a_pass(kit, most, length, ())
    is_cut = passes_over(length, size) > 1
    while batch := list(islice(remaining, most)):
        visitors = _visitors(base, batch, values)
        tokens = [base.tokens] * len(batch)
        first = 0 if is_cut else min((p.in_layer for row in batch for p in row), default=0)
        scores = np.array(_scores(kit, tokens, visitors, score, size, first))
        _check(kit, scores, tokens, visitors)
        yield scores


def _scores(
    kit: ModelKit, batch: list[list[int]], visitors: Visitors, score: Score, size: int, first: int
) -> mx.array:
    """The scores of a batch, whose passes run at most `size` positions each, and from layer
    `first` on: they depend on nothing below."""
    visitors = in_steps(kit.structure, visitors, len(batch) * size, first=first)
    with observed(kit.structure, visitors):
        for logits in logits_of_chunks(kit.structure, mx.array(batch), size):
            scores = score(logits)
    return scores


def _check(
    kit: ModelKit, scores: np.ndarray, batch: Sequence[Sequence[int]], visitors: Visitors
) -> None:
    """Raise NotFiniteError for scores that are not finite, since the logits are not."""
    if not np.isfinite(scores).all():
        raise not_finite(kit, batch, visitors)


def _positions_a_pass(kit: ModelKit, batch: int, length: int, kept: Iterable[Point]) -> int:
    """How many positions of sequences are run at once. Raises NotEnoughMemoryError."""
    size = kit.footprint.of_values(kept, batch, length)
    return kit.footprint.longest_pass(batch, length, kept=size)


def _joined(point: Point, pieces: list[mx.array]) -> mx.array:
    """What the passes over parts of a sequence have at a point."""
    return pieces[0] if len(pieces) == 1 else mx.concatenate(pieces, axis=sequence_axis(point))


def _visitors(base: Run, batch: Sequence[Masks], values: Values) -> Visitors:
    visitors: dict[Point, Visitor] = {}
    points = {point for row in batch for point in row}
    if points:
        first = min(points, key=lambda point: point.in_layer)
        kept = base.values.get(_stream_before(first))
        if kept is not None:
            stream = mx.broadcast_to(kept, (len(batch), *kept.shape[1:]))
            visitors[_stream_before(first)] = _returning(_stream_before(first), stream)
        is_alone = sum(point.layer == first.layer for point in points) == 1
        for point in points:
            mask = _stacked(batch, point)
            if is_alone and point == first:
                mixed = mx.where(mask, values[point], base.values[point])
                visitors[point] = _returning(point, mixed)
            else:
                visitors[point] = _replacing(point, mask, values[point])
    if FINAL_NORM_INPUT in base.values:
        visitors[FINAL_NORM_INPUT] = _last_position
    return visitors


def _stacked(batch: Sequence[Masks], point: Point) -> mx.array:
    """The masks of all rows at a point; a row that does not change it has a mask of zeros."""
    shape = next(row[point].shape for row in batch if point in row)
    return mx.array(np.stack([row.get(point, np.zeros(shape, bool)) for row in batch]))


def _returning(point: Point, value: mx.array) -> Visitor:
    return lambda _, span: _of_span(point, value, span)


def _replacing(point: Point, mask: mx.array, replacement: mx.array) -> Visitor:
    def visit(value: mx.array, span: Span) -> mx.array:
        where = _of_span(point, mask, span)
        return mx.where(where, _of_span(point, replacement, span), value)

    return visit


def _of_span(point: Point, value: mx.array, span: Span) -> mx.array:
    """The positions of a value that a pass covers; one that all have is theirs too."""
    axis = sequence_axis(point)
    if value.shape[axis] in (1, span.length):
        return value
    index = [slice(None)] * axis + [slice(span.first, span.first + span.length)]
    return value[tuple(index)]


def _last_position(value: mx.array, span: Span) -> mx.array:
    """All of the residual stream that the score needs to be unembedded."""
    return value[:, -1:]


def _stream_before(point: Point) -> Point:
    """The residual stream as it enters the layer of `point`."""
    return Point(point.in_layer - 1, ComponentType.RESIDUAL)


def _row_bytes(kit: ModelKit, length: int) -> int:
    """About what the activations of one sequence take while a pass is evaluated, in float32."""
    per_position = WIDTH * kit.info.hidden_size + (kit.info.heads or 0) * length
    return 4 * (length * per_position + kit.info.vocab_size)
