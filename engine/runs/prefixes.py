"""Keys and values of earlier sequences, for prompts that begin as one of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import mlx.core as mx
import numpy as np

from engine.machine.memory import lend
from engine.runs.kit import ModelKit
from engine.runs.reusing import beginning_of, can_be_taken_back, compact
from engine.taps.positions import count_tokens

LEAST = 16
"""Tokens from which the beginning of a sequence is worth to be kept."""


@dataclass(eq=False)
class Prefix:
    """Tokens that went through a model, and its caches after them. `used` grows with each use."""

    tokens: np.ndarray
    caches: list[Any]
    nbytes: int
    used: int

    def reusable(self, tokens: np.ndarray) -> int:
        """How many of a sequence's first tokens need not go through the model again."""
        alike = _alike(self.tokens, tokens)
        is_whole = alike == len(self.tokens)
        return alike if is_whole or can_be_taken_back(self.caches) else 0

    def covers(self, tokens: np.ndarray) -> bool:
        """Whether it is as good as one of these tokens, which it begins with."""
        return len(tokens) <= len(self.tokens) and self.reusable(tokens) == len(tokens)


class PrefixCache:
    """Those of all models, of `budget_bytes` at most: the least recently used goes first.

    They belong to one loaded copy of a model each, and go with it. They are lent memory: who needs
    it for a pass gets it. Nothing that is kept is ever written to.
    """

    def __init__(self, budget_bytes: int):
        self.budget_bytes = budget_bytes
        self._kept: WeakKeyDictionary[ModelKit, list[Prefix]] = WeakKeyDictionary()
        self._uses = count()
        self._lock = RLock()
        lend(self)

    @property
    def nbytes(self) -> int:
        """The bytes of all that is kept."""
        with self._lock:
            return sum(each.nbytes for kept in self._kept.values() for each in kept)

    def beginning(self, kit: ModelKit, tokens: Sequence[int]) -> tuple[list[Any], int] | None:
        """Caches after as many of some first tokens as an earlier sequence had, and how many these
        are; None if they are too few."""
        wanted = np.array(tokens)
        with self._lock:
            kept = self._kept.get(kit, [])
            longest = max(kept, key=lambda each: each.reusable(wanted), default=None)
            length = longest.reusable(wanted) if longest else 0
            if longest is None or length < LEAST:
                return None
            longest.used = next(self._uses)
        return beginning_of(longest.caches, len(longest.tokens), length), length

    def keep(self, kit: ModelKit, tokens: Sequence[int], caches: Callable[[], list[Any]]) -> None:
        """Keep a copy of a model's caches that these tokens have gone through, unless what is kept
        does for them already; what it does for is dropped."""
        new = np.array(tokens)
        if len(new) < LEAST or self.budget_bytes == 0 or self._touched(kit, new):
            return
        copies = compact(caches())
        count_tokens(copies, len(new))
        mx.eval([each.state for each in copies])
        prefix = Prefix(new, copies, sum(each.nbytes for each in copies), next(self._uses))
        if prefix.nbytes > self.budget_bytes:
            return
        with self._lock:
            others = [each for each in self._kept.get(kit, []) if not prefix.covers(each.tokens)]
            self._kept[kit] = [*others, prefix]
            self.release(self.nbytes - self.budget_bytes)

    def release(self, nbytes: int) -> None:
        """Drop at least so many bytes of it, if there are as many."""
        with self._lock:
            every = [(each, kept) for kept in self._kept.values() for each in kept]
            for oldest, kept in sorted(every, key=lambda pair: pair[0].used):
                if nbytes <= 0:
                    return
                kept.remove(oldest)
                nbytes -= oldest.nbytes

    def _touched(self, kit: ModelKit, tokens: np.ndarray) -> bool:
        """Whether what is kept does for these tokens, which counts as a use of it."""
        with self._lock:
            for each in self._kept.get(kit, []):
                if each.covers(tokens):
                    each.used = next(self._uses)
                    return True
        return False


def _alike(one: np.ndarray, other: np.ndarray) -> int:
    """How many tokens two sequences begin with alike."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
