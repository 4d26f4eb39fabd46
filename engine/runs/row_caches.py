"""The caches of rows that share their passes, in mlx-lm's batch caches."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.taps.positions import count_tokens


class RowCaches:
    """The caches of some rows, one a layer; those of a row alone are its own.

    So a row that runs alone is padded by nothing and masked by nothing.
    """

    def __init__(self) -> None:
        self.layers: list[Any] = []
        self._rows = 0

    def join(self, rows: Sequence[list[Any]]) -> None:
        """Add the caches of more rows, after those that there are."""
        if not rows:
            return
        if self._rows > 1:
            for shared, joining in zip(self.layers, _merged(rows), strict=True):
                shared.extend(joining)
        elif self._rows + len(rows) == 1:
            (self.layers,) = rows
        else:
            self.layers = _merged([*([self.layers] if self._rows else []), *rows])
        self._rows += len(rows)

    def of(self, row: int) -> list[Any]:
        """The caches of one row."""
        return self.layers if self._rows == 1 else [each.extract(row) for each in self.layers]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep those of some rows, in the order that they have; the others leave."""
        if len(rows) == self._rows:
            return
        if not rows:
            self.layers = []
        elif len(rows) == 1:
            self.layers = self.of(rows[0])
        else:
            for shared in self.layers:
                shared.filter(list(rows))
        self._rows = len(rows)

    def count(self, tokens: int) -> None:
        """Remember how many tokens the longest row has, for caches that do not tell."""
        count_tokens(self.layers, tokens)


def _merged(rows: Sequence[list[Any]]) -> list[Any]:
    return [type(layer[0]).merge(list(layer)) for layer in zip(*rows, strict=True)]


def read_together(
    model: nn.Module,
    rows: Sequence[list[Any]],
    sequences: Sequence[Sequence[int]],
    tokens: int = 0,
) -> list[list[Any]]:
    """The caches of some rows, after one pass over a sequence of each.

    Shorter sequences are padded at the end: what is there changes nothing before it. `tokens` are
    those that the longest of the caches has seen.
    """
    layers = _merged(rows)
    count_tokens(layers, tokens)
    lengths = [len(sequence) for sequence in sequences]
    padding = [max(lengths) - length for length in lengths]
    padded = [[*sequence, *[0] * more] for sequence, more in zip(sequences, padding, strict=True)]
    if any(padding):
        for layer in layers:
            layer.prepare(lengths=lengths, right_padding=padding)
    model(mx.array(padded), cache=layers)
    if any(padding):
        for layer in layers:
            layer.finalize()
    mx.eval([layer.state for layer in layers])
    return [[layer.extract(row) for layer in layers] for row in range(len(rows))]
