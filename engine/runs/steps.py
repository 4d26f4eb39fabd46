"""Long passes in steps of a few layers, between which other work may run.

MLX evaluates a pass when somebody needs a number of it, and then all that the number depends on. A
step ends with the residual stream after a layer: it is evaluated there, and the rest of the pass
goes on from it. The numbers are the same.
"""

from collections.abc import Callable
from itertools import count

import mlx.core as mx

from engine.components import ComponentType
from engine.machine.device import on_cpu
from engine.structure.resolver import Structure
from engine.taps.points import Point, Span, Visitor, Visitors
from engine.turns import give_way

Progress = Callable[[int, int], None]
CPU, GPU = 1e10, 1e12
"""Additions and multiplications in one step, at least: a fraction of a second."""
A_WEIGHT = 2
"""Of these for each weight and position: a product, and its addition to a sum."""
WEIGHTS = 12
"""Weights of a layer in times the square of its width, as in most transformers."""


def in_steps(
    structure: Structure,
    visitors: Visitors,
    positions: int,
    *,
    first: int = 0,
    last: int | None = None,
    passes: int = 1,
    progress: Progress = lambda done, total: None,
) -> Visitors:
    """The same visitors, for `passes` over so many positions, of all sequences, in steps.

    What lies below layer `first` need not be calculated, and what lies above layer `last` (None: of
    the whole model) is not. After each step `progress` is called with
    how many layers of how many are done, in all passes. Short passes have one step.
    """
    if not is_long(structure, positions):
        return visitors
    stop = structure.layers - 1 if last is None else min(last, structure.layers - 1)
    ends = [
        end
        for layer in range(first, stop)
        if (end := Point(layer, ComponentType.RESIDUAL)) in structure.shapes
    ]
    done = count(1)
    steps = _Steps(_least(), lambda: progress(next(done), passes * len(ends)))
    return {**visitors, **{end: steps.after(visitors.get(end)) for end in ends}}


def layer_by_layer(structure: Structure) -> Visitors:
    """Visitors that end a step after each layer, for a pass whose weights are read first."""
    steps = _Steps(0)
    ends = (Point(layer, ComponentType.RESIDUAL) for layer in range(structure.layers))
    return {end: steps.after(None) for end in ends if end in structure.shapes}


def is_long(structure: Structure, positions: int) -> bool:
    """Whether a pass over so many positions has several steps."""
    work = _work(1, positions, positions, structure.hidden_size)
    return work * structure.layers >= 2 * _least()


def rows_a_step(structure: Structure, length: int) -> int:
    """How many sequences of a length make one layer a step, where there are as many; at least 1."""
    return max(1, int(_least() / _work(1, length, length, structure.hidden_size)))


class _Steps:
    """Ends a step where at least so much has been calculated since the last one."""

    def __init__(self, least: float, progress: Callable[[], None] = lambda: None) -> None:
        self._least = least
        self._progress = progress
        self._work = 0.0

    def after(self, visitor: Visitor | None) -> Visitor:
        """A visitor of the residual stream after a layer, which another one may change first."""

        def visit(value: mx.array, span: Span) -> mx.array:
            changed = visitor(value, span) if visitor else value
            rows, length, width = changed.shape
            self._work += _work(rows, length, span.first + length, width)
            self._progress()
            if self._work >= self._least:
                self._work = 0.0
                mx.eval(changed)
                give_way()
            return changed

        return visit


def _work(rows: int, length: int, keys: int, width: int) -> float:
    """What a layer calculates for some positions of each row, which see so many keys."""
    return A_WEIGHT * rows * length * (WEIGHTS * width * width + 2 * keys * width)


def _least() -> float:
    return CPU if on_cpu() else GPU
