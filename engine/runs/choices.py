"""The tokens that follow the rows of a pass, chosen and reported in one evaluation.

By the time that a token is read the next pass is under way, and what is calculated then would have
to wait for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import mlx.core as mx
from mlx_lm.models.cache import TokenBuffer

from engine.runs.sampling import Sampling
from engine.taps.rows import Row, failing


class Step(NamedTuple):
    """One generated token, its log-probability, and the likeliest tokens with theirs.

    `drafted` tokens were proposed for the pass that chose it and those after it, which the first of
    them has; `is_draft` says that it was one of these.
    """

    token: int
    logprob: float
    likeliest: list[tuple[int, float]]
    drafted: int = 0
    is_draft: bool = False


class Chooser:
    """Chooses the tokens of one run: it has a random key and a context of its own.

    `waits_for_tokens` is whether the next choice begins only once the last token is known.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int]):
        self.is_greedy = sampling.temperature == 0
        self.top = sampling.top_logprobs
        self.waits_for_tokens = sampling.grammar is not None
        self._sampler = sampling.sampler()
        self._processors = sampling.logits_processors(len(prompt))
        self._context = TokenBuffer(list(prompt[:-1]))

    @property
    def is_plain(self) -> bool:
        """Whether logits stay as the model has them."""
        return not self._processors

    def processed(self, token: mx.array, logits: mx.array) -> mx.array:
        """The logits ``[1, vocab]`` that follow `token`, ``[1]``, under penalties and biases."""
        context = self._context.update_and_fetch(token)
        for processor in self._processors:
            logits = processor(context, logits)
        return logits

    def drawn(self, logprobs: mx.array) -> mx.array:
        """The next token, ``[1]``, drawn from log-probabilities ``[1, vocab]``."""
        return self._sampler(logprobs)


class ChoosingRow(Row, Protocol):
    """A row with its own way to choose tokens."""

    chooser: Chooser


@dataclass(frozen=True)
class Choices:
    """The tokens that were chosen for some rows, ``[rows]``, and what is reported of each."""

    tokens: mx.array
    reports: list[tuple[mx.array, ...]]

    def start(self) -> None:
        """Begin to evaluate them."""
        mx.async_eval(self.tokens, self.reports)

    def steps(self) -> list[Step]:
        """The steps of the rows, once they are evaluated."""
        chosen = cast(list[int], self.tokens.tolist())
        logprobs = cast(list[float], self.reports[0][0].tolist())
        return [
            Step(token, logprob, ranked(likeliest))
            for token, logprob, likeliest in zip(chosen, logprobs, self.reports[1:], strict=True)
        ]


def choose(rows: Sequence[ChoosingRow], inputs: mx.array, logits: mx.array) -> Choices:
    """Choose a token for each row from its logits ``[rows, vocab]``, which follow `inputs`.

    Rows are alike as long as they can be: what one of them needs beyond that is calculated apart.
    """
    if not all(row.chooser.is_plain for row in rows):
        if any(row.chooser.waits_for_tokens for row in rows):
            mx.async_eval(logits)  # calculated while tokens are looked at
        logits = mx.concatenate(
            [_processed(row, *each) for row, each in _each(rows, inputs, logits)]
        )
    logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    tokens = mx.argmax(logprobs, axis=-1)
    if not all(row.chooser.is_greedy for row in rows):
        tokens = mx.concatenate([_drawn(row, *each) for row, each in _each(rows, tokens, logprobs)])
    chosen = mx.take_along_axis(logprobs, tokens[:, None], axis=-1)[:, 0]
    tops = [likeliest(logprobs[i : i + 1], row.chooser.top) for i, row in enumerate(rows)]
    return Choices(tokens, [(chosen,), *tops])


def _each(rows: Sequence[ChoosingRow], *values: mx.array):
    """Each row with its own part of some values."""
    for index, row in enumerate(rows):
        yield row, [value[index : index + 1] for value in values]


def _processed(row: ChoosingRow, token: mx.array, logits: mx.array) -> mx.array:
    if not row.chooser.is_plain:
        with failing(row):
            return row.chooser.processed(token, logits)
    return logits


def _drawn(row: ChoosingRow, greedy: mx.array, logprobs: mx.array) -> mx.array:
    if not row.chooser.is_greedy:
        with failing(row):
            return row.chooser.drawn(logprobs)
    return greedy


def likeliest(logprobs: mx.array, top: int) -> tuple[mx.array, ...]:
    """The `top` likeliest tokens of ``[1, vocab]`` in no order, and their log-probabilities."""
    if top == 0:
        return ()
    tokens = mx.argpartition(-logprobs, top - 1, axis=-1)[:, :top]
    return tokens, mx.take_along_axis(logprobs, tokens, axis=-1)


def ranked(likeliest: tuple[mx.array, ...]) -> list[tuple[int, float]]:
    """What `likeliest` returned, the likeliest first."""
    tokens_and_logprobs = (cast(list[Any], array.tolist())[0] for array in likeliest)
    return sorted(zip(*tokens_and_logprobs, strict=True), key=lambda pair: -pair[1])
