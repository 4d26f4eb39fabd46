"""Values of which each of several ranks has a part, and how they are made whole.

All ranks run the same program, so each of them takes part in making a value whole, and has it
whole then. `part` is what this rank has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx
from mlx.nn.layers.distributed import sum_gradients


class Share(Protocol):
    """What this rank has of a value in its canonical shape."""

    @property
    def group(self) -> mx.distributed.Group: ...

    def whole(self, part: mx.array, heads: Sequence[int] | None = None) -> mx.array:
        """The whole value, or these heads of it, which are on its axis 1."""

    def own(self, whole: mx.array) -> mx.array:
        """The part of a whole value that this rank goes on with; the gradient of the whole is that
        of all parts."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Each rank has a slice of an axis, counted from the last one, in the order of the ranks."""

    group: mx.distributed.Group
    axis: int

    def whole(self, part: mx.array, heads: Sequence[int] | None = None) -> mx.array:
        if heads is not None:
            if self.axis + part.ndim == 1:
                return self._heads(part, heads)
            part = mx.take(part, mx.array(list(heads)), axis=1)
        parts = mx.distributed.all_gather(part[None], group=self.group)
        return mx.concatenate(list(parts), axis=self.axis)

    def own(self, whole: mx.array) -> mx.array:
        whole = sum_gradients(self.group)(whole)
        return mx.split(whole, self.group.size(), axis=self.axis)[self.group.rank()]

    def _heads(self, part: mx.array, heads: Sequence[int]) -> mx.array:
        """Heads, of which each rank sends its own: they are few beside all."""
        count = part.shape[1]
        first = count * self.group.rank()
        places = mx.array([min(max(head - first, 0), count - 1) for head in heads])
        are_own = mx.array([first <= head < first + count for head in heads])
        own = mx.where(
            are_own.reshape(-1, *[1] * (part.ndim - 2)), mx.take(part, places, axis=1), 0
        )
        return mx.distributed.all_sum(own.astype(part.dtype), group=self.group)


@dataclass(frozen=True, eq=False)
class Summands:
    """The value is the sum of what the ranks have."""

    group: mx.distributed.Group

    def whole(self, part: mx.array, heads: Sequence[int] | None = None) -> mx.array:
        if heads is not None:
            part = mx.take(part, mx.array(list(heads)), axis=1)
        return mx.distributed.all_sum(part, group=self.group)

    def own(self, whole: mx.array) -> mx.array:
        whole = sum_gradients(self.group)(whole)
        if self.group.rank() == 0:
            return whole
        return mx.depends(mx.zeros_like(whole), whole)  # all ranks have to take part in the sum


def taken_whole(
    part: mx.array, share: Share | None, heads: Sequence[int] | None = None
) -> mx.array:
    """The whole value, or these heads of it; without a share this rank has all of it."""
    if share is not None:
        return share.whole(part, heads)
    return part if heads is None else mx.take(part, mx.array(list(heads)), axis=1)
