"""Activations in random order: neighbours of a text are not neighbours in a batch."""

from collections.abc import Iterator
from typing import Any

import numpy as np


class ShuffleBuffer:
    """Rows of a source, mixed: filled up to `capacity` rows, and again when half of them are drawn.

    Rows are ``[width]`` in float32. The order depends on `seed` and the source alone.
    """

    def __init__(self, capacity: int, width: int, seed: int):
        self._capacity = capacity
        self._rows = np.empty((0, width), np.float32)
        self._random = np.random.default_rng(seed)

    def batch(self, size: int, source: Iterator[np.ndarray]) -> np.ndarray:
        """The next `size` rows, ``[size, width]``; `source`, which has no end, gives new ones."""
        if len(self._rows) < max(size, self._capacity // 2):
            self.fill(source)
        drawn, self._rows = self._rows[:size], self._rows[size:]
        return drawn

    def fill(self, source: Iterator[np.ndarray]) -> None:
        """Take so many rows of `source` that there are `capacity` of them, and mix all."""
        parts, held = [self._rows], len(self._rows)
        while held < self._capacity:
            parts.append(next(source))
            held += len(parts[-1])
        rows = np.concatenate(parts)
        self._rows = rows[self._random.permutation(len(rows))]

    @property
    def rows(self) -> np.ndarray:
        """What is held, in the order in which it will be drawn."""
        return self._rows

    @property
    def random_state(self) -> dict[str, Any]:
        """The state of the generator, for JSON."""
        return dict(self._random.bit_generator.state)

    def restore(self, rows: np.ndarray, random_state: dict[str, Any]) -> None:
        """Continue where another buffer was."""
        self._rows = rows
        self._random.bit_generator.state = random_state
