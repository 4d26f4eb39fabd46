"""What a part's activation is set to when the part is ablated.

- *zero*: to zero.
- *mean*: to its mean over reference prompts. Over ``prompts``, each position has its own mean
  (Wang et al. 2022, arXiv:2211.00593, for prompts of one template); over ``positions``, all
  positions of all reference prompts have one.
- *resample*: to its activation over a reference prompt, and the score is the mean over several of
  these (Chan et al. 2022, Causal Scrubbing). All parts of a pass have theirs from the same prompt.

Zero is far from what the rest of the model ever sees; mean and resample ablation take away what the
part says of this prompt, and leave what it always says (Chan et al. 2022; Zhang and Nanda 2023,
arXiv:2309.16042).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import mlx.core as mx
import numpy as np

from engine.analysis.patching import Run, Values, run
from engine.errors import InvalidRequestError
from engine.runs.kit import ModelKit
from engine.taps.points import Point, sequence_axis

Kind = Literal["zero", "mean", "resample"]
Over = Literal["prompts", "positions"]


@dataclass(frozen=True)
class Ablation:
    """How parts are ablated.

    `references` are prompts as token ids (None: those of the task's prompts that are not changed,
    over all examples). For means by position and for resampling, an example has those references
    that have as many tokens as it. `samples` is how many references are drawn for each example,
    with `seed` and with replacement; None takes each of them once.
    """

    kind: Kind = "zero"
    references: Sequence[Sequence[int]] | None = None
    over: Over = "prompts"
    samples: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise InvalidRequestError for a choice that does not exist, or has no meaning here."""
        for name, given, known in (
            ("kind", self.kind, get_args(Kind)),
            ("over", self.over, get_args(Over)),
        ):
            if given not in known:
                raise InvalidRequestError(f"ablation: {name} {given!r} is none of {known}")
        if self.kind == "zero" and self.references is not None:
            raise InvalidRequestError("ablation: zero ablation has no references")
        if self.kind != "mean" and self.over != "prompts":
            raise InvalidRequestError(f"ablation: {self.kind} ablation is not over {self.over}")
        if self.kind != "resample" and self.samples is not None:
            raise InvalidRequestError(f"ablation: {self.kind} ablation draws no samples")
        if self.samples is not None and self.samples < 1:
            raise InvalidRequestError("ablation: at least one sample is needed")
        if self.references is not None and not self.references:
            raise InvalidRequestError("ablation: at least one reference is needed")


class AblatedValues:
    """The values that ablation puts at some points, for one example after another.

    `others` are the prompts that are the references if the ablation names none, and `lengths` the
    numbers of tokens of the examples. Raises InvalidRequestError for references that no example,
    or an example that no reference has as many tokens as.
    """

    def __init__(
        self,
        kit: ModelKit,
        ablation: Ablation,
        points: Sequence[Point],
        others: Sequence[Sequence[int]],
        lengths: Sequence[int],
    ):
        ablation.check()
        self._kit = kit
        self._ablation = ablation
        self._points = points
        given = ablation.references
        references = others if given is None else given
        self._references = [tuple(reference) for reference in references]
        self._runs: dict[tuple[int, ...], Values] = {}
        for reference in self._references:
            kit.check_tokens([reference])
            if self._is_aligned and len(reference) not in lengths:
                raise InvalidRequestError(
                    f"ablation: a reference has {len(reference)} tokens; the examples have "
                    f"{sorted(set(lengths))}, and both need the same number"
                )
        for length in lengths:
            self._references_of(length)

    def passes(self, length: int) -> int:
        """How many passes an example of so many tokens takes for each row."""
        if self._ablation.kind != "resample":
            return 1
        return self._ablation.samples or len(self._references_of(length))

    def of(self, base: Run, number: int) -> list[Values]:
        """What example `number` has at the points in each of its passes."""
        kind = self._ablation.kind
        if kind == "zero":
            return [{point: mx.zeros_like(base.values[point]) for point in self._points}]
        runs = [self._values(tokens) for tokens in self._references_of(len(base.tokens))]
        if kind == "mean":
            return [{point: self._mean(runs, point) for point in self._points}]
        if self._ablation.samples is None:
            return runs
        random = np.random.default_rng([self._ablation.seed, number])
        drawn = random.integers(len(runs), size=self._ablation.samples)
        return [runs[index] for index in drawn]

    @property
    def _is_aligned(self) -> bool:
        """Whether values go to the positions that they come from."""
        return self._ablation.kind != "zero" and self._ablation.over == "prompts"

    def _references_of(self, length: int) -> list[tuple[int, ...]]:
        if not self._is_aligned:
            return self._references
        found = [reference for reference in self._references if len(reference) == length]
        if not found:
            raise InvalidRequestError(
                f"ablation: an example has {length} tokens, and no reference has as many"
            )
        return found

    def _values(self, tokens: tuple[int, ...]) -> Values:
        if tokens not in self._runs:
            self._runs[tokens] = run(self._kit, tokens, self._points, _no_score).values
        return self._runs[tokens]

    def _mean(self, runs: Sequence[Values], point: Point) -> mx.array:
        values = [each[point].astype(mx.float32) for each in runs]
        if self._ablation.over == "prompts":
            mean = mx.stack(values).mean(0)
        else:
            axis = sequence_axis(point)
            mean = mx.concatenate(values, axis=axis).mean(axis, keepdims=True)
        return mean.astype(runs[0][point].dtype)


def _no_score(logits: mx.array) -> mx.array:
    return logits[:, -1, 0]
