"""How much each token of a prompt matters to a target, by the gradient at its embedding.

- *gradient x input*: the product of a token's embedding with the gradient there, summed over the
  width: to first order the part of the target that is lost with the embedding set to zero
  (Shrikumar et al. 2016, arXiv:1605.01713).
- *norm*: the Euclidean norm of the gradient: how fast the target can change with the token
  (Simonyan et al. 2013, arXiv:1312.6034).
- *integrated gradients* (Sundararajan et al. 2017, arXiv:1703.01365): the product of embedding
  less baseline with the mean gradient on the straight line from the baseline. The attributions of
  all tokens sum up to the target less the target at the baseline, but for the error of the mean
  over finitely many steps, which is `delta`.

The embedding is that which enters the first block: a model that reads its tokens again further up
reads the prompt's own there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.analysis.circuits import Progress
from engine.analysis.gradients import Gradients, gradients
from engine.analysis.target import Target
from engine.captures.hooks import ResolvedHook
from engine.captures.recorder import Recorder
from engine.captures.records import Activations
from engine.captures.steps import records
from engine.components import ComponentType
from engine.errors import InvalidRequestError, NotFiniteError
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.runs.special_tokens import special_positions
from engine.taps.observation import observed
from engine.taps.points import Point, Span

EMBEDDING = Point(None, ComponentType.EMBEDDING)
MOST_ROWS = 8
"""Points of the line that are differentiated at once, where they fit into memory."""


@dataclass(frozen=True)
class Baseline:
    """Where the line of integrated gradients begins: embeddings of zeros, or those of a prompt of
    as many tokens."""

    tokens: Sequence[int] | None = None

    def check(self, kit: ModelKit, length: int) -> None:
        """Raise InvalidRequestError for a prompt of another length, or tokens that do not exist."""
        if self.tokens is None:
            return
        kit.check_tokens([self.tokens])
        if len(self.tokens) != length:
            raise InvalidRequestError(
                f"baseline: it has {len(self.tokens)} tokens and the prompt {length}; "
                "both need the same number"
            )


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients by token, ``[seq]``, in units of the target.

    `delta` is the sum of the attributions less the difference of both scores.
    """

    attributions: np.ndarray
    score: float
    baseline_score: float
    steps: int

    @property
    def delta(self) -> float:
        """The completeness error: zero where the mean over the steps is exact."""
        return float(self.attributions.sum(dtype=np.float64)) - (self.score - self.baseline_score)


@dataclass(frozen=True)
class Saliency:
    """A target's score, its gradients at the values that hooks ask for, and by token, ``[seq]``.

    `forward_passes` and `backward_passes` count whole passes of one prompt.
    """

    score: float
    gradients: Activations
    gradient_x_input: np.ndarray
    norm: np.ndarray
    integrated: Integrated | None
    forward_passes: int
    backward_passes: int


@gaps_explained()
def saliency(
    kit: ModelKit,
    tokens: Sequence[int],
    target: Target,
    hooks: Sequence[ResolvedHook] = (),
    *,
    baseline: Baseline | None = None,
    steps: int = 0,
    budget_bytes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Saliency:
    """Differentiate a target by the values of `hooks` and by the tokens' embeddings.

    With `steps` of at least 1 the gradients are integrated from the baseline too (None: zeros), at
    the middles of as many equal parts of the line.

    Raises InvalidRequestError, UnknownPositionError, and what `gradients` and `Recorder` raise;
    NotFiniteError for a gradient that is NaN or infinite.
    """
    kit.check_tokens([tokens])
    length = len(tokens)
    target.check(kit, length)
    (baseline or Baseline()).check(kit, length)
    if steps < 0:
        raise InvalidRequestError(f"steps: {steps} is less than 0")
    if baseline is not None and steps == 0:
        raise InvalidRequestError("baseline: without steps nothing is integrated from it")
    recorder = Recorder(
        hooks, length, range(length), budget_bytes, special_positions(kit, hooks, [tokens])
    )
    points = list(dict.fromkeys([*recorder.marks, EMBEDDING]))
    progress(0, 1 + steps)
    found = gradients(
        kit, mx.array([list(tokens)]), points, lambda logits: target.scores(logits, tokens).sum()
    )
    _check_finite(found)
    progress(1, 1 + steps)
    embeddings, slopes = (
        each[EMBEDDING].astype(mx.float32) for each in (found.values, found.gradients)
    )
    integrated = None
    if steps:
        integrated = _integrated(
            kit, tokens, target, embeddings, baseline or Baseline(), steps, progress
        )
    return Saliency(
        score=float(np.array(found.score)),
        gradients=_recorded(recorder, found, length),
        gradient_x_input=np.array((embeddings * slopes).sum(-1)[0]),
        norm=np.array(mx.linalg.norm(slopes, axis=-1)[0]),
        integrated=integrated,
        forward_passes=1 + (steps + 2 if steps else 0),
        backward_passes=1 + steps,
    )


def embeddings_of(kit: ModelKit, tokens: Sequence[int]) -> mx.array:
    """What enters the first block, ``[1, seq, hidden]``; nothing behind it is evaluated."""
    seen: list[mx.array] = []

    def look(value: mx.array, span: Span) -> mx.array:
        seen.append(value)
        return value

    with observed(kit.structure, {EMBEDDING: look}):
        kit.structure.logits(mx.array([list(tokens)]))
    return seen[0]


def _integrated(
    kit: ModelKit,
    tokens: Sequence[int],
    target: Target,
    embeddings: mx.array,
    baseline: Baseline,
    steps: int,
    progress: Progress,
) -> Integrated:
    beginning = mx.zeros_like(embeddings)
    if baseline.tokens is not None:
        beginning = embeddings_of(kit, baseline.tokens).astype(mx.float32)
    away = embeddings - beginning
    rows = min(MOST_ROWS, steps)
    while rows > 1 and not kit.footprint.fits_gradients(rows, len(tokens)):
        rows //= 2
    total = mx.zeros_like(embeddings)
    for first in range(0, steps, rows):
        numbers = np.arange(first, min(first + rows, steps))
        shares = mx.array(((numbers + 0.5) / steps).astype(np.float32))[:, None, None]
        line = beginning + shares * away
        found = gradients(
            kit,
            mx.array([list(tokens)] * len(numbers)),
            [EMBEDDING],
            lambda logits: target.scores(logits, tokens).sum(),
            given={EMBEDDING: line},
        )
        _check_finite(found)
        total = total + found.gradients[EMBEDDING].astype(mx.float32).sum(0, keepdims=True)
        progress(1 + first + len(numbers), 1 + steps)
    ends = [_score(kit, tokens, target, each) for each in (beginning, embeddings)]
    return Integrated(np.array((away * total / steps).sum(-1)[0]), ends[1], ends[0], steps)


def _score(kit: ModelKit, tokens: Sequence[int], target: Target, embeddings: mx.array) -> float:
    with observed(kit.structure, {EMBEDDING: lambda value, span: embeddings}):
        logits = kit.structure.logits(mx.array([list(tokens)]))
    return float(np.array(target.scores(logits, tokens))[0])


def _recorded(recorder: Recorder, found: Gradients, length: int) -> Activations:
    """The gradients as hooks ask for them, in the records of a pass."""
    recorder.begin_pass(Span(0, length), 1)
    values = [found.gradients[point] for point in recorder.marks]
    recorder.end_pass(found.score, list(recorder.marks.values()), values)
    recorder.start()
    return records(recorder.take(range(length)))


def _check_finite(found: Gradients) -> None:
    for point, gradient in found.gradients.items():
        if not mx.isfinite(gradient).all().item():
            where = "" if point.layer is None else f" of layer {point.layer}"
            raise NotFiniteError(
                f"the gradient at {point.component}{where} is NaN or infinite: "
                "load the model in float32"
            )
