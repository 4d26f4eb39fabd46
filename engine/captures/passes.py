"""What hooks keep of one forward pass: seen lazily, evaluated with the pass, moved to numpy."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from engine.captures.hooks import ResolvedHook
from engine.taps.points import UNSEEN, Point, Span, sequence_axis

SMALL = 1 << 20
"""Bytes below which arrays of one shape are joined: one transfer to the host in place of many."""

_delivery = ThreadPoolExecutor(1, "delivery")
"""Moves values to the host while the thread that runs the model prepares its next pass."""


@dataclass(eq=False)
class Selection:
    """What one hook keeps of the values at one of its points; None: all heads, all positions."""

    hook: ResolvedHook
    point: Point
    is_input: bool
    positions: tuple[int, ...] | None
    heads: mx.array | None
    dtype: mx.Dtype

    def __post_init__(self) -> None:
        self.has_keys = self.point.component in UNSEEN

    def of(self, value: mx.array, span: Span, positions: Sequence[int]) -> mx.array:
        """The selected part of a value that covers `span`."""
        if self.heads is not None:
            value = mx.take(value, self.heads, axis=1)
        if self.positions is not None or len(positions) < span.length:
            index = mx.array([position - span.first for position in positions])
            value = mx.take(value, index, axis=sequence_axis(self.point))
        return value

    def nbytes(self, value: mx.array, prompt_end: int) -> int:
        """The bytes of a value in its record, where a chunk's rows are as long as the prompt's."""
        wide = mx.issubdtype(value.dtype, mx.floating)
        nbytes = value.size * (self.dtype.size if wide else value.itemsize)
        if self.has_keys and value.shape[-1] < prompt_end:
            nbytes = nbytes // value.shape[-1] * prompt_end
        return nbytes

    def stored(self, value: mx.array) -> mx.array:
        """A value, or several joined, in the dtype asked for; bfloat16 as its bits."""
        if mx.issubdtype(value.dtype, mx.floating):
            value = value.astype(self.dtype)
        return value.view(mx.uint16) if value.dtype == mx.bfloat16 else value


@dataclass(eq=False, slots=True)
class Kept:
    """What a selection keeps of one pass: the values at `positions`.

    `turn` counts the visits at a point that a pass makes several times, as looped layers do.
    """

    selection: Selection
    turn: int
    positions: Sequence[int]


@dataclass(eq=False, slots=True)
class Stack:
    """Values that are alike, one after another on a leading axis; `nbytes` in each's record."""

    kept: list[Kept]
    nbytes: int
    value: mx.array | None
    rows: list[np.ndarray] = field(default_factory=list)

    def move(self) -> None:
        """Move each value to numpy, into memory of its own; MLX's is given back."""
        value, self.value = self.value, None
        alone = len(self.kept) == 1
        self.rows = list(np.array(value)) if alone else [row.copy() for row in np.asarray(value)]


@dataclass(eq=False)
class Pass:
    """One forward pass over `span`, of which hooks keep values at `positions`."""

    span: Span
    positions: range
    stacks: list[Stack] = field(default_factory=list)
    taken_bytes: int = 0
    _seen: list[tuple[Kept, mx.array]] = field(default_factory=list)
    _turns: dict[Selection, int] = field(default_factory=lambda: defaultdict(int))
    _moving: Future[None] | None = None

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.span.first + self.span.length

    @property
    def nbytes(self) -> int:
        return sum(stack.nbytes * len(stack.kept) for stack in self.stacks)

    def keep(self, selection: Selection, value: mx.array) -> None:
        """Keep the selected part of a value, if there is one."""
        positions: Sequence[int] = self.positions
        if selection.positions is not None:
            positions = [p for p in selection.positions if p in self.positions]
        if positions:
            kept = Kept(selection, self._turns[selection], positions)
            self._turns[selection] += 1
            self._seen.append((kept, selection.of(value, self.span, positions)))

    def stack(self, prompt_end: int) -> None:
        """Join what is alike, so that little has to be begun and moved."""
        groups: dict[object, list[tuple[Kept, mx.array]]] = {}
        for kept, value in self._seen:
            how = kept.selection
            alike = (value.shape, value.dtype, how.dtype, how.has_keys)
            groups.setdefault(alike if value.nbytes < SMALL else kept, []).append((kept, value))
        self._seen.clear()
        for group in groups.values():
            kept, values = map(list, zip(*group, strict=True))
            how, first = kept[0].selection, values[0]
            joined = mx.concatenate(values) if values[1:] else first
            stored = mx.contiguous(how.stored(joined).reshape(len(values), *first.shape))
            self.stacks.append(Stack(kept, how.nbytes(first, prompt_end), stored))

    def deliver(self) -> None:
        """Begin to move the values to numpy, in another thread, if that has not begun."""
        if self.stacks and self._moving is None:
            mx.async_eval([stack.value for stack in self.stacks])  # nobody may need the result
            self._moving = _delivery.submit(self._move)

    def values(self) -> Iterator[tuple[Kept, np.ndarray]]:
        """All that was kept, in numpy."""
        self.deliver()
        if self._moving is not None:
            self._moving.result()
        for stack in self.stacks:
            yield from zip(stack.kept, stack.rows, strict=True)

    def _move(self) -> None:
        for stack in self.stacks:
            stack.move()


@dataclass(eq=False)
class Taken:
    """The part of a pass that belongs to a step: its positions from `start` to `stop`."""

    source: Pass
    start: int
    stop: int

    def is_whole(self) -> bool:
        """Whether all positions of the pass belong to the step."""
        return self.start <= self.source.span.first and self.source.end <= self.stop

    def places(self, positions: Sequence[int]) -> Sequence[int]:
        """Where among the kept positions those of this part are."""
        return [i for i, p in enumerate(positions) if self.start <= p < self.stop]

    def values(self) -> Iterator[tuple[Kept, Sequence[int], np.ndarray]]:
        """What was kept at positions of this part: which, and the values with no keys after it."""
        whole = self.is_whole()
        for kept, value in self.source.values():
            positions, selection = kept.positions, kept.selection
            if not whole:
                places = self.places(positions)
                positions = [positions[i] for i in places]
                value = value.take(places, sequence_axis(selection.point))
            if selection.has_keys and value.shape[-1] > self.stop:
                value = value[..., : self.stop].copy()
            if positions:
                yield kept, positions, value
