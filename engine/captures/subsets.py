"""Which part of a value a hook keeps, and in which form it goes to numpy."""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.captures.hooks import ResolvedHook
from engine.captures.host_memory import host_memory
from engine.captures.records import numbers
from engine.taps.points import Point, Span
from engine.taps.position_sets import within
from engine.taps.shares import Share, taken_whole


@dataclass(eq=False, frozen=True, slots=True)
class Subset:
    """The part of a value that is kept; None: all heads, all positions but those `excluded`.

    `axis` counts positions. With `has_keys`, the last axis counts those that were seen so far.
    `share` is what this rank has of the value.
    """

    positions: range | tuple[int, ...] | None
    excluded: frozenset[int]
    heads: tuple[int, ...] | None
    dtype: mx.Dtype
    axis: int
    has_keys: bool
    share: Share | None = None

    def positions_in(self, positions: range) -> Sequence[int]:
        """Those of a pass' positions that are kept."""
        return within(self.positions, self.excluded, positions)

    def of_one_token(self, known: dict[tuple, "Subset"]) -> "Subset":
        """The same of a pass over one token that is kept; alike ones are one object of `known`."""
        every = None, frozenset[int]()
        subset = *every, self.heads, self.dtype, self.axis, self.has_keys, self.share
        return known.setdefault(subset, Subset(*subset))

    def of(self, value: mx.array, span: Span, positions: Sequence[int]) -> mx.array:
        """The part of a value in its canonical shape that covers `span`, in the dtype asked for.

        bfloat16, which numpy lacks, is its bits, also where numpy is to widen it to
        float32: half as much has to be moved. A GPU with memory of its own widens it there, far
        faster than numpy.
        """
        if isinstance(self.positions, tuple) or len(positions) < span.length:
            index = mx.array([position - span.first for position in positions])
            value = mx.take(value, index, axis=self.axis)
        value = taken_whole(value, self.share, self.heads)
        dtype = value.dtype
        if dtype == mx.bfloat16 and self.dtype == mx.float32 and host_memory() is None:
            return value.view(mx.uint16)
        if not mx.issubdtype(dtype, mx.floating):
            return value
        value = value.astype(self.dtype)
        return value.view(mx.uint16) if self.dtype == mx.bfloat16 else value

    def nbytes(self, part: mx.array, prompt_end: int) -> int:
        """The bytes of a part in its record, where a chunk's rows are as long as the prompt's."""
        nbytes = part.nbytes
        if part.dtype == mx.uint16:
            nbytes = nbytes // 2 * self.dtype.size
        if self.has_keys and part.shape[-1] < prompt_end:
            return nbytes // part.shape[-1] * prompt_end
        return nbytes

    def rows(self, part: np.ndarray, is_copy: bool) -> tuple[list[np.ndarray], str]:
        """Each of some joined parts, and the name of their dtype.

        Each gets memory of its own, unless the part is a copy of MLX's already.
        """
        if part.dtype == np.uint16 and self.dtype == mx.float32:
            return [numbers(row, "bfloat16") for row in part], "float32"
        name = "bfloat16" if part.dtype == np.uint16 else part.dtype.name
        return [row if is_copy else row.copy() for row in part], name


@dataclass(eq=False, slots=True)
class Selection:
    """What one hook keeps at one of its points."""

    hook: ResolvedHook
    point: Point
    is_input: bool
    subset: Subset
