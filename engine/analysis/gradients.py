"""Gradients of a score with respect to the values at hook points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import mlx.core as mx

from engine.components import ComponentType
from engine.errors import InterventionError, UnsupportedOperationError
from engine.runs.kit import ModelKit
from engine.structure.trace import PROMPT
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor
from engine.turns import give_way

ALIKE = 1e-3
"""How far, in parts of the largest number, gradients may differ between ranks that agree."""

_agreeing: WeakKeyDictionary[ModelKit, bool] = WeakKeyDictionary()

Score = Callable[[mx.array], mx.array]
"""From logits ``[batch, seq, vocab]`` to one number."""


@dataclass(frozen=True)
class Gradients:
    """A score of one forward pass, the values at its points, and the gradients there.

    Values and gradients have the shapes of their components; gradients are per unit of activation.
    """

    score: mx.array
    values: dict[Point, mx.array]
    gradients: dict[Point, mx.array]


def gradients(kit: ModelKit, tokens: mx.array, points: Sequence[Point], score: Score) -> Gradients:
    """Differentiate a score of the logits of `tokens`, ``[batch, seq]``, by the values at `points`.

    The gradient at a point is that of an additive perturbation of its value: it counts whatever
    the model calculates from there on, at a later point among `points` too. Costs one forward and
    one backward pass, in which the whole sequence is needed at once. Raises InterventionError for a
    point that the pass does not come by exactly once, NotEnoughMemoryError for what does not fit,
    UnsupportedOperationError for a model whose ranks do not agree on gradients.
    """
    kit.structure.check_length(tokens.shape[1])
    kit.footprint.check_gradients(*tokens.shape)
    if kit.structure.shares and not _ranks_agree(kit):
        raise UnsupportedOperationError(
            f"no gradients: mlx-lm's layers of {kit.info.architecture} do not add up over the ranks "
            "what flows back through them; load the model in one process"
        )
    return _gradients(kit, tokens, points, score)


def _gradients(
    kit: ModelKit, tokens: mx.array, points: Sequence[Point], score: Score
) -> Gradients:
    perturbed = _Perturbed(kit, tokens, points)
    run = mx.value_and_grad(lambda perturbations: perturbed.score(perturbations, score))
    (value, values), found = run(perturbed.zeros())
    for each in [*values, value, *reversed(found)]:  # the order in which they are calculated
        mx.eval(each)
        give_way()
    return Gradients(
        value, dict(zip(points, values, strict=True)), dict(zip(points, found, strict=True))
    )


def _ranks_agree(kit: ModelKit) -> bool:
    """Whether all ranks find the same gradient at the embedding, as they do if it is whole; found
    when it is asked for first."""
    if kit in _agreeing:
        return _agreeing[kit]
    embedding = Point(None, ComponentType.EMBEDDING)
    tokens = mx.arange(PROMPT, dtype=mx.int32)[None]
    found = _gradients(kit, tokens, [embedding], lambda logits: logits[0, -1, 0])
    own = found.gradients[embedding].astype(mx.float32)
    share = next(iter(kit.structure.shares.values()))
    each = mx.distributed.all_gather(own[None], group=share.group)
    far = mx.abs(each - each[0]).max().item()
    return _agreeing.setdefault(kit, far <= ALIKE * mx.abs(each[0]).max().item())


class _Perturbed:
    """One forward pass to whose values at some points perturbations are added."""

    def __init__(self, kit: ModelKit, tokens: mx.array, points: Sequence[Point]):
        self.kit = kit
        self.tokens = tokens
        self.points = points

    def zeros(self) -> list[mx.array]:
        """Perturbations that change nothing; the pass that tells their shapes is not evaluated."""
        seen = self._run(lambda point, value: value)[1]
        return [mx.zeros_like(value) for value in seen]

    def score(self, perturbations: list[mx.array], score: Score) -> tuple:
        added = dict(zip(self.points, perturbations, strict=True))
        logits, values = self._run(lambda point, value: value + added[point])
        return score(logits), values

    def _run(self, change: Callable[[Point, mx.array], mx.array]) -> tuple:
        seen: dict[Point, list[mx.array]] = {point: [] for point in self.points}

        def visitor(point: Point) -> Visitor:
            def visit(value: mx.array, span: Span) -> mx.array:
                seen[point].append(change(point, value))
                return seen[point][-1]

            return visit

        with observed(self.kit.structure, {point: visitor(point) for point in self.points}):
            logits = self.kit.structure.logits(self.tokens)
        for point, values in seen.items():
            if len(values) != 1:
                raise InterventionError(
                    f"no gradient at {point.component} of layer {point.layer}: "
                    f"the pass comes by it {len(values)} times, not once"
                )
        return logits, [value for (value,) in seen.values()]
