"""A behaviour as two prompts, and the score of a pass that says how much of it is there.

The prompts have as many tokens as each other: a clean one, over which the model shows the
behaviour, and a corrupted one, over which it does not. The score is a logit difference at the last
position, in logits: that of the answers minus that of the distractors (Wang et al. 2022,
arXiv:2211.00593; why logits and not probabilities: Zhang and Nanda 2023, arXiv:2309.16042).

Several answers, or several distractors, are pooled into one number before the difference is taken:

- *mean*: the mean of their logits. This is the mean of the logit differences of all pairs, and
  linear in the logits; it is what is usual where each answer has a distractor of its own.
- *logsumexp*: the logarithm of the sum of the exponentials of their logits. The difference is then
  the logarithm of the ratio of the probability of any of the answers to that of any of the
  distractors, as where every spelling of an answer counts.
- *probability*: the sum of their probabilities. The difference is not one of logits: it lies
  between -1 and 1, and says how likely the answers are among all tokens, as in the greater-than
  task of Hanna et al. 2023, arXiv:2305.00586.

For one answer and one distractor the first two are the difference of two logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import mlx.core as mx

from engine.analysis.probabilities import log_probabilities
from engine.errors import InvalidRequestError, UnequalPromptsError
from engine.runs.kit import ModelKit

Pooling = Literal["mean", "logsumexp", "probability"]


@dataclass(frozen=True)
class Task:
    """Two prompts as token ids, and the ids of the tokens whose logits are compared: one, or
    several that `pooling` makes one number of."""

    clean: Sequence[int]
    corrupted: Sequence[int]
    answer: int | Sequence[int]
    distractor: int | Sequence[int]
    pooling: Pooling = "mean"

    @property
    def answers(self) -> list[int]:
        """The tokens that the behaviour makes likely."""
        return [self.answer] if isinstance(self.answer, int) else list(self.answer)

    @property
    def distractors(self) -> list[int]:
        """The tokens that the answers are compared with."""
        return [self.distractor] if isinstance(self.distractor, int) else list(self.distractor)

    def score(self, logits: mx.array) -> mx.array:
        """Logit difference at the last position, ``[batch]``, of ``[batch, positions, vocab]``."""
        last = logits[:, -1].astype(mx.float32)
        if self.pooling == "probability":
            last = log_probabilities(last)
        return self._pooled(last, self.answers) - self._pooled(last, self.distractors)

    def _pooled(self, logits: mx.array, tokens: list[int]) -> mx.array:
        chosen = logits[:, mx.array(tokens)]
        if self.pooling == "probability":
            return mx.exp(chosen).sum(-1)
        return chosen.mean(-1) if self.pooling == "mean" else mx.logsumexp(chosen, -1)

    def check(self, kit: ModelKit) -> None:
        """Raise InvalidRequestError for prompts or tokens that cannot be compared, as
        UnequalPromptsError if the prompts have different lengths."""
        if len(self.clean) != len(self.corrupted):
            raise UnequalPromptsError(
                f"clean has {len(self.clean)} tokens and corrupted {len(self.corrupted)}; "
                "both need the same number"
            )
        if self.pooling not in get_args(Pooling):
            known = ", ".join(get_args(Pooling))
            raise InvalidRequestError(f"pooling: {self.pooling!r} is none of {known}")
        for tokens in (self.clean, self.corrupted, self.answers, self.distractors):
            kit.check_tokens([tokens])
        for name, tokens in (("answers", self.answers), ("distractors", self.distractors)):
            for token in tokens:
                if tokens.count(token) > 1:
                    raise InvalidRequestError(f"{name}: the token {token} is given twice")
        for token in self.answers:
            if token in self.distractors:
                raise InvalidRequestError(f"answer and distractor are the same token, {token}")
