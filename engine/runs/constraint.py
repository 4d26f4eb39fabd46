"""What a grammar lets one run write next, as a mask over its logits."""

from collections.abc import Sequence
from typing import cast

import mlx.core as mx
import numpy as np

from engine.runs.grammars import CompiledGrammar, check


class Constraint:
    """Rules out, for mlx-lm's generation, the tokens that a grammar does not allow.

    The first `prompt` of the tokens that are passed with the logits are the prompt's. The others
    are followed wherever they lead: those that a draft model guessed wrong are taken back. Asking
    for them waits until they are evaluated, which what the logits need does meanwhile.
    """

    def __init__(self, grammar: CompiledGrammar, prompt: int):
        self._grammar = grammar
        self._matcher = grammar.start.deep_copy()
        self._prompt = prompt
        self._tokens: list[int] = []
        self._begin: int | None = None if grammar.after else 0
        self._matched = 0  # of the tokens from there on

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        """Return ``[1, vocab]`` logits of the token that comes after `tokens`, ``[seq]``, with -inf
        for those that the grammar rules out. Raises GrammarError where none is left."""
        self._follow(cast(list[int], tokens[self._prompt :].tolist()))
        return mx.where(self._allowed(logits.shape[-1]), logits, -mx.inf)

    def _follow(self, generated: list[int]) -> None:
        same = _same(self._tokens, generated)
        if same < len(self._tokens):
            self._take_back(same)
        for token in generated[same:]:
            self._tokens.append(token)
            if self._begin is None:
                if self._ends_with(self._grammar.after):
                    self._begin = len(self._tokens)
            elif self._begin + self._matched == len(self._tokens) - 1:
                self._matched += self._matcher.try_consume_tokens([token])

    def _take_back(self, kept: int) -> None:
        del self._tokens[kept:]
        if self._begin is None:
            return
        left = max(0, kept - self._begin)
        if left < self._matched:
            self._matcher.rollback(self._matched - left)
            self._matched = left
        if kept < self._begin:
            self._begin = None if self._grammar.after else 0

    def _ends_with(self, end: Sequence[int]) -> bool:
        return tuple(self._tokens[-len(end) :]) == tuple(end)

    def _allowed(self, vocab: int) -> mx.array:
        """Which tokens may come next, ``[vocab]``."""
        if self._begin is None:
            allowed = np.ones(vocab, bool)
            allowed[list(self._grammar.eos)] = False
            return mx.array(allowed)
        mask = self._grammar.first_mask
        if self._matched:
            mask = self._matcher.compute_bitmask()
            check(self._matcher)
        bits = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little", count=vocab)
        return mx.array(bits).astype(mx.bool_)


def _same(known: list[int], given: list[int]) -> int:
    """How many tokens at the beginning are the same."""
    if given[: len(known)] == known:
        return len(known)
    pairs = zip(known, given, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), len(given))
