"""The next token of one run, drawn with a random key that belongs to this run alone."""

import math
import secrets
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.turns import agreed

LEAST_SEED, LARGEST_SEED = -(2**63), 2**64 - 1
"""Every signed and every unsigned integer of 64 bits is a seed."""
CHANCE_BITS = 128
"""Of chance that a run without a seed draws by."""
ENTROPY = 2**128
"""Seeds are taken modulo this, which maps a negative one to a number that no other seed is."""


class Sampler:
    """Draws tokens from log-probabilities, with a new key for each of its calls.

    `top_k` 0 and `top_p` 1 keep all tokens, `min_p` is relative to the likeliest one. These three
    look at the probabilities before `temperature`, as in mlx-lm, and a token must pass all of them.
    Temperature 0 chooses the likeliest token and draws nothing. The draws follow from `seed` and
    `choice` alone; without a seed they differ in each run. MLX's global random state is neither
    read nor changed.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        min_p: float = 0.0,
        seed: int | None = None,
        choice: int = 0,
    ) -> None:
        self._temperature = temperature
        self._kept = _Kept(top_p, top_k, min_p)
        self._key = _key(seed, choice)

    def __call__(self, logprobs: mx.array) -> mx.array:
        """Return one token for each row of ``[rows, vocab]`` log-probabilities, ``[rows]``."""
        if self._temperature == 0:
            return mx.argmax(logprobs, axis=-1)
        kept = self._kept.of(logprobs.astype(mx.float32))
        self._key, key = mx.random.split(self._key)
        return mx.random.categorical(kept * (1 / self._temperature), key=key)


@dataclass(frozen=True)
class _Kept:
    """The tokens that may be drawn: each limit keeps so many of the likeliest ones."""

    top_p: float
    top_k: int
    min_p: float

    def of(self, logprobs: mx.array) -> mx.array:
        """Return the log-probabilities, those of the other tokens replaced by -inf."""
        kept = logprobs
        if self.top_p < 1:
            kept = mx.where(logprobs < self._nucleus_end(logprobs), -mx.inf, kept)
        if self.min_p > 0:
            least = logprobs.max(axis=-1, keepdims=True) + math.log(self.min_p)
            kept = mx.where(logprobs < least, -mx.inf, kept)
        if 0 < self.top_k < logprobs.shape[-1]:
            rest = mx.argpartition(-logprobs, self.top_k - 1, axis=-1)[..., self.top_k :]
            kept = mx.put_along_axis(kept, rest, mx.array(-mx.inf, kept.dtype), axis=-1)
        return kept

    def _nucleus_end(self, logprobs: mx.array) -> mx.array:
        """The least log-probability of the fewest likeliest tokens that together have `top_p`."""
        ascending = mx.sort(logprobs, axis=-1)
        probabilities = mx.exp(ascending)
        above = mx.cumsum(probabilities, axis=-1, reverse=True, inclusive=False)
        total = above[..., :1] + probabilities[..., :1]
        dropped = (above >= self.top_p * total).sum(axis=-1, keepdims=True)
        return mx.take_along_axis(ascending, dropped, axis=-1)


def _key(seed: int | None, choice: int) -> mx.array:
    """The first key of a seed; without one, of the operating system's entropy."""
    if seed is None:
        entropy = ENTROPY + agreed("chance", secrets.randbits(CHANCE_BITS))
    else:
        entropy = seed % ENTROPY
    return mx.array(np.random.SeedSequence(entropy, spawn_key=(choice,)).generate_state(2))
