"""Logits that are NaN or infinite: which layer's output is the first that is.

A number beyond its dtype's range in one layer spoils all that is calculated from it. Nothing is
looked at while a run goes well; once its logits are not finite, the same pass is run again with a
look at what each layer returns.
"""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from engine.components import ComponentType as C
from engine.errors import NotFiniteError
from engine.runs.chunks import logits_of_chunks
from engine.runs.kit import ModelKit
from engine.runs.steps import in_steps
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor, Visitors, sequence_axis

OF_LAYER = (C.ATTENTION, C.RESIDUAL_MID, C.MLP, C.RESIDUAL)
ADVICE = (
    "load the model in float32, whose range is larger than float16's, and look at the values that "
    "interventions give"
)


def are_finite(logits: np.ndarray) -> bool:
    """Whether no logit ``[…, vocab]`` is NaN or infinite, but for tokens that a model rules out by
    -inf."""
    return bool(np.isfinite(logits.max(axis=-1)).all())


def not_finite(kit: ModelKit, batch: Sequence[Sequence[int]], visitors: Visitors) -> NotFiniteError:
    """The error of a pass over sequences whose logits are not finite, with the first layer whose
    output is not: found by running it again, with the same changes made by `visitors`."""
    where = _first(kit, batch, visitors)
    if where is None:
        return NotFiniteError(
            "what the model computes is NaN or infinite; in another pass over the same tokens it "
            f"is not, so that a function's values, a breakpoint's or a cache's are why: {ADVICE}"
        )
    point, position = where
    return NotFiniteError(
        "what the model computes is NaN or infinite, and the first output that is so is "
        f"{_name(point)}, at position {position}: {ADVICE}"
    )


def _first(
    kit: ModelKit, batch: Sequence[Sequence[int]], visitors: Visitors
) -> tuple[Point, int] | None:
    """The first point of a pass, and the first position there, whose value is not finite."""
    points = _points(kit)
    bad: dict[Point, int] = {}
    seen: dict[Point, tuple[Span, mx.array]] = {}

    def look(point: Point) -> Visitor:
        change = visitors.get(point, lambda value, span: value)

        def visit(value: mx.array, span: Span) -> mx.array:
            value = change(value, span)
            axes = [axis for axis in range(value.ndim) if axis != sequence_axis(point)]
            finite = mx.isfinite(value).all(axis=axes)
            seen[point] = span, finite if point not in seen else finite & seen[point][1]
            return value

        return visit

    size = kit.footprint.longest_pass(len(batch), len(batch[0]))
    looking = {**visitors, **{point: look(point) for point in points}}
    with observed(kit.structure, in_steps(kit.structure, looking, len(batch) * size)):
        for _ in logits_of_chunks(kit.structure, mx.array([list(each) for each in batch]), size):
            for point, (span, finite) in seen.items():
                places = np.flatnonzero(~np.array(finite))
                if places.size:
                    cut = span.length - finite.size  # a visitor may keep the last positions alone
                    bad.setdefault(point, span.first + cut + int(places[0]))
            seen.clear()
    return next(((point, bad[point]) for point in points if point in bad), None)


def _points(kit: ModelKit) -> list[Point]:
    """The points that are looked at, in the order of the pass."""
    layers = [Point(layer, each) for layer in range(kit.structure.layers) for each in OF_LAYER]
    ends = [Point(None, C.FINAL_NORM), Point(None, C.LOGITS)]
    return [
        point
        for point in [Point(None, C.EMBEDDING), *layers, *ends]
        if point in kit.structure.shapes
    ]


def _name(point: Point) -> str:
    if point.layer is None:
        return f"the {point.component}"
    return f"{point.component} of layer {point.layer}"
