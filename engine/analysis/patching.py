"""Many passes at once, each with one part of one component replaced."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.components import ComponentType
from engine.errors import InvalidRequestError
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor, Visitors

Score = Callable[[mx.array], mx.array]
"""From logits ``[batch, positions, vocab]``, of which the last position counts, to ``[batch]``."""

FINAL_NORM_INPUT = Point(None, ComponentType.FINAL_NORM, True)
WIDTH = 32
"""About how many numbers a block calculates for each position, in times the hidden size."""


@dataclass(frozen=True)
class Part:
    """What is replaced in one pass: a component of a layer at some positions, of one head if it
    has heads."""

    point: Point
    head: int | None
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """One prompt's pass: its score, and its values, ``[1, …]`` each, at some points."""

    tokens: list[int]
    score: float
    values: dict[Point, mx.array]


@gaps_explained()
def run(kit: ModelKit, tokens: Sequence[int], points: Sequence[Point], score: Score) -> Run:
    """Run one prompt and keep its values at `points`, and what `patched_scores` starts from.

    Raises InvalidRequestError for a point that the pass does not come by exactly once.
    """
    seen: dict[Point, list[mx.array]] = {}

    def keep(point: Point) -> Visitor:
        def visit(value: mx.array, span: Span) -> mx.array:
            seen.setdefault(point, []).append(value)
            return value

        return visit

    wanted = {*points, *map(_stream_before, points), FINAL_NORM_INPUT} & kit.structure.shapes.keys()
    scores = _scores(kit, [list(tokens)], {point: keep(point) for point in wanted}, score)
    for point in points:
        times = len(seen.get(point, ()))
        if times != 1:
            raise InvalidRequestError(
                f"{point.component} of layer {point.layer} is calculated {times} times in a pass "
                "of this model; only what is calculated once has an effect of its own"
            )
    values = {point: values[0] for point, values in seen.items() if len(values) == 1}
    mx.eval(scores, list(values.values()))
    return Run(list(tokens), scores.item(), values)


def patched_scores(
    kit: ModelKit,
    base: Run,
    parts: Sequence[Part],
    replacement: mx.array,
    score: Score,
    batch_bytes: int,
) -> Iterator[np.ndarray]:
    """The scores of `base` with one part after another taken from `replacement`, ``[1, …]``.

    All parts are at one point. Yields scores batch by batch; the activations of one take about
    `batch_bytes`. What a batch is given at the point, and in the residual stream before it, are
    the values of `base`: MLX evaluates only what the scores depend on, so nothing that lies below
    is calculated again.
    """
    point = parts[0].point
    rows = max(1, batch_bytes // _row_bytes(kit, len(base.tokens)))
    for first in range(0, len(parts), rows):
        batch = parts[first : first + rows]
        mask = _mask(batch, base.values[point].shape)
        patched = mx.where(mask, replacement, base.values[point])
        visitors = {point: _answering(patched)}
        kept = base.values.get(_stream_before(point))
        if kept is not None:
            stream = mx.broadcast_to(kept, (len(batch), *kept.shape[1:]))
            visitors[_stream_before(point)] = _answering(stream)
        if FINAL_NORM_INPUT in base.values:
            visitors[FINAL_NORM_INPUT] = _last_position
        yield np.array(_scores(kit, [base.tokens] * len(batch), visitors, score))


def _scores(kit: ModelKit, batch: list[list[int]], visitors: Visitors, score: Score) -> mx.array:
    with observed(kit.structure, visitors):
        return score(kit.model(mx.array(batch)))


def _answering(value: mx.array) -> Visitor:
    return lambda _, span: value


def _last_position(value: mx.array, span: Span) -> mx.array:
    """All of the residual stream that the score needs to be unembedded."""
    return value[:, -1:]


def _stream_before(point: Point) -> Point:
    """The residual stream as it enters the layer of `point`."""
    return Point(point.layer - 1, ComponentType.RESIDUAL)


def _mask(batch: Sequence[Part], shape: tuple[int, ...]) -> mx.array:
    """For each part of a batch, true where a value of `shape` is replaced."""
    mask = np.zeros((len(batch), *shape[1:-1], 1), bool)
    for row, part in zip(mask, batch, strict=True):
        place = row if part.head is None else row[part.head]
        place[list(part.positions)] = True
    return mx.array(mask)


def _row_bytes(kit: ModelKit, length: int) -> int:
    """About what the activations of one sequence take while a pass is evaluated, in float32."""
    per_position = WIDTH * kit.info.hidden_size + (kit.info.heads or 0) * length
    return 4 * (length * per_position + kit.info.vocab_size)
