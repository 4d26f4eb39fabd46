"""Gradients of a score with respect to the values at hook points."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
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

ADDED_UP = {"ShardedRMSNorm"}
"""Modules of mlx-lm that add up over ranks what they do not add up the gradients of: ranks agree on
a gradient then, and all of them are wrong."""

_agreeing: WeakKeyDictionary[ModelKit, bool] = WeakKeyDictionary()

Score = Callable[[mx.array], mx.array]
"""From logits ``[batch, seq, vocab]`` to one number."""

NO_GRADIENT = re.compile(r"(?i)\bvjp\b")
"""How MLX says of an operation that it has no gradient."""


@dataclass(frozen=True)
class Gradients:
    """A score of one forward pass, the values at its points, and the gradients there.

    Values and gradients have the shapes of their components; gradients are per unit of activation.
    """

    score: mx.array
    values: dict[Point, mx.array]
    gradients: dict[Point, mx.array]


def gradients(
    kit: ModelKit,
    tokens: mx.array,
    points: Sequence[Point],
    score: Score,
    *,
    given: Mapping[Point, mx.array] | None = None,
    stopped: Collection[Point] = (),
) -> Gradients:
    """Differentiate a score of the logits of `tokens`, ``[batch, seq]``, by the values at `points`.

    The gradient at a point is that of an additive perturbation of its value: it counts whatever
    the model calculates from there on, at a later point among `points` too. `given` are values that
    the pass has at some points in place of its own, and no gradient goes back through the values
    at those that are `stopped`. Costs one forward and one backward pass, in
    which the whole sequence is needed at once. Raises InterventionError for a point that the pass
    does not come by exactly once, or whose values are whole numbers; UnsupportedOperationError
    where the model calculates with an operation that has no gradient, or its ranks do not agree on
    one; NotEnoughMemoryError for what does not fit.
    """
    kit.structure.check_length(tokens.shape[1])
    kit.footprint.check_gradients(*tokens.shape)
    if kit.structure.shares and not _ranks_agree(kit):
        raise UnsupportedOperationError(
            f"no gradients: mlx-lm's layers of {kit.info.architecture} do not add up over the "
            "ranks what flows back through them; load the model in one process"
        )
    return _gradients(
        kit, points, score, _Perturbed(kit, tokens, points, dict(given or {}), stopped)
    )


def _gradients(
    kit: ModelKit, points: Sequence[Point], score: Score, perturbed: "_Perturbed"
) -> Gradients:
    with missing_gradients_explained(kit):
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
    if any(type(module).__name__ in ADDED_UP for module in kit.model.modules()):
        return False
    embedding = Point(None, ComponentType.EMBEDDING)
    tokens = mx.arange(PROMPT, dtype=mx.int32)[None]
    perturbed = _Perturbed(kit, tokens, [embedding], {}, ())
    found = _gradients(kit, [embedding], lambda logits: logits[0, -1, 0], perturbed)
    own = found.gradients[embedding].astype(mx.float32)
    share = next(iter(kit.structure.shares.values()))
    each = mx.distributed.all_gather(own[None], group=share.group)
    alike = mx.abs(each - each[0]).max() <= ALIKE * mx.abs(each[0]).max()
    return _agreeing.setdefault(kit, bool(alike.item()))


@contextmanager
def missing_gradients_explained(kit: ModelKit) -> Iterator[None]:
    """Raise UnsupportedOperationError, with MLX's words, for an operation without a gradient."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if not NO_GRADIENT.search(str(error)):
            raise
        raise UnsupportedOperationError(
            f"{kit.info.architecture} calculates with an operation that has no gradient in MLX: "
            f"{error} What patches and ablates works without one"
        ) from error


@dataclass
class _Perturbed:
    """One forward pass to whose values at some points perturbations are added."""

    kit: ModelKit
    tokens: mx.array
    points: Sequence[Point]
    given: Mapping[Point, mx.array] = field(default_factory=dict)
    stopped: Collection[Point] = ()

    def zeros(self) -> list[mx.array]:
        """Perturbations that change nothing; the pass that tells their shapes is not evaluated."""
        seen = self._run(lambda point, value: value)[1]
        for point, value in zip(self.points, seen, strict=True):
            if not mx.issubdtype(value.dtype, mx.floating):
                raise InterventionError(
                    f"no gradient at {_name(point)}: its values are whole numbers"
                )
        return [mx.zeros_like(value) for value in seen]

    def score(self, perturbations: list[mx.array], score: Score) -> tuple:
        added = dict(zip(self.points, perturbations, strict=True))
        logits, values = self._run(
            lambda point, value: value + added[point] if point in added else value
        )
        return score(logits), values

    def _run(self, change: Callable[[Point, mx.array], mx.array]) -> tuple:
        seen: dict[Point, list[mx.array]] = {point: [] for point in self.points}

        def visitor(point: Point) -> Visitor:
            def visit(value: mx.array, span: Span) -> mx.array:
                value = change(point, self.given.get(point, value))
                if point in seen:
                    seen[point].append(value)
                return mx.stop_gradient(value) if point in self.stopped else value

            return visit

        visitors = {point: visitor(point) for point in {*self.points, *self.given, *self.stopped}}
        with observed(self.kit.structure, visitors):
            logits = self.kit.structure.logits(self.tokens)
        for point, values in seen.items():
            if len(values) != 1:
                raise InterventionError(
                    f"no gradient at {_name(point)}: "
                    f"the pass comes by it {len(values)} times, not once"
                )
        return logits, [value for (value,) in seen.values()]


def _name(point: Point) -> str:
    side = "the input of " if point.is_input else ""
    where = "" if point.layer is None else f" of layer {point.layer}"
    return f"{side}{point.component}{where}"
