"""The order of keys in a cache, and their places in the sequence."""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from engine.errors import UnknownComponentError


@dataclass(frozen=True)
class KeyOrder:
    """How the `length` keys of a cache lie in a sequence of `total` positions.

    A rotating cache keeps the first `keep` tokens and the newest; the oldest of the newest is at
    `start`, behind which the order wraps around. Keys that it has dropped leave `gap` positions
    without a key behind the first `keep`.
    """

    length: int
    total: int
    keep: int = 0
    start: int = 0

    @classmethod
    def of(cls, cache: Any, length: int, total: int) -> "KeyOrder":
        """The order of `length` keys of this cache after `total` tokens; None is no cache.

        Raises UnknownComponentError if keys are missing that no limit of the cache explains.
        """
        limited = hasattr(cache, "max_size") or hasattr(cache, "chunk_size")
        if length < total and not limited:
            raise UnknownComponentError(
                f"attention picked {length} of {total} keys for this token, and does not say which"
            )
        keep = getattr(cache, "keep", 0)
        index = getattr(cache, "_idx", length)
        wrapped = index < length and getattr(cache, "rotated", total > length)
        return cls(length, total, min(keep, length), index if wrapped else 0)

    @property
    def gap(self) -> int:
        return max(self.total - self.length, 0)

    def arranged(self, array: mx.array, axis: int) -> mx.array:
        """An array whose `axis` counts keys, in the order of time."""
        if not self.start:
            return array
        at = [self.keep, self.start]
        kept, newer, older = mx.split(array, at, axis=axis)
        return mx.concatenate([kept, older, newer], axis=axis)

    def disarranged(self, array: mx.array, axis: int) -> mx.array:
        """The inverse of `arranged`."""
        if not self.start:
            return array
        kept, older, newer = mx.split(
            array, [self.keep, self.keep + self.length - self.start], axis=axis
        )
        return mx.concatenate([kept, newer, older], axis=axis)

    def padded(self, rows: mx.array, fill: float) -> mx.array:
        """Rows over the keys, ``[…, length]``, as rows over all positions, ``[…, total]``."""
        if not self.gap:
            return rows
        gap = mx.full((*rows.shape[:-1], self.gap), fill, dtype=rows.dtype)
        return mx.concatenate([rows[..., : self.keep], gap, rows[..., self.keep :]], axis=-1)

    def unpadded(self, rows: mx.array) -> mx.array:
        """The inverse of `padded`."""
        if not self.gap:
            return rows
        return mx.concatenate([rows[..., : self.keep], rows[..., self.keep + self.gap :]], axis=-1)
