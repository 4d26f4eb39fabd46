"""What hooks keep of one forward pass: seen lazily, evaluated with the pass, moved to numpy."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import mlx.core as mx
import numpy as np

from engine.captures.hooks import ResolvedHook
from engine.captures.records import CapturedActivation, numbers
from engine.taps.points import Point, Span

SMALL = 1 << 20
"""Bytes below which arrays of one shape are joined: one transfer to the host in place of many."""

_delivery = ThreadPoolExecutor(1, "delivery")
"""Moves values to the host while the thread that runs the model prepares its next pass."""


@dataclass(eq=False, frozen=True)
class Cut:
    """The part of a value that is kept; None: all heads, all positions.

    `axis` counts positions. With `has_keys`, the last axis counts those that were seen so far.
    """

    positions: tuple[int, ...] | None
    heads: tuple[int, ...] | None
    dtype: mx.Dtype
    axis: int
    has_keys: bool

    def reach(self, positions: range) -> Sequence[int]:
        """Those of a pass' positions that are kept."""
        if self.positions is None:
            return positions
        return [position for position in self.positions if position in positions]

    def of(self, value: mx.array, span: Span, positions: Sequence[int]) -> mx.array:
        """The part of a value that covers `span`, in the dtype asked for.

        bfloat16, which numpy lacks, stands as its bits, also where numpy is to widen it to
        float32: half as much has to be moved.
        """
        if self.heads is not None:
            value = mx.take(value, mx.array(self.heads), axis=1)
        if self.positions is not None or len(positions) < span.length:
            index = mx.array([position - span.first for position in positions])
            value = mx.take(value, index, axis=self.axis)
        widens = value.dtype == mx.bfloat16 and self.dtype == mx.float32
        if mx.issubdtype(value.dtype, mx.floating) and not widens:
            value = value.astype(self.dtype)
        return value.view(mx.uint16) if value.dtype == mx.bfloat16 else value

    def nbytes(self, part: mx.array, prompt_end: int) -> int:
        """The bytes of a part in its record, where a chunk's rows are as long as the prompt's."""
        nbytes = part.size * (self.dtype.size if part.dtype == mx.uint16 else part.itemsize)
        if self.has_keys and part.shape[-1] < prompt_end:
            return nbytes // part.shape[-1] * prompt_end
        return nbytes

    def rows(self, part: np.ndarray) -> tuple[list[np.ndarray], str]:
        """Each of some joined parts in memory of its own, and the name of their dtype."""
        if part.dtype != np.uint16:
            return [row.copy() for row in part], part.dtype.name
        if self.dtype == mx.float32:
            return [numbers(row, "bfloat16") for row in part], "float32"
        return [row.copy() for row in part], "bfloat16"


@dataclass(eq=False)
class Selection:
    """What one hook keeps at one of its points."""

    hook: ResolvedHook
    point: Point
    is_input: bool
    cut: Cut


@dataclass(eq=False, slots=True)
class Kept:
    """What a selection keeps of one pass: the values at `positions`.

    `turn` counts the visits at a point that a pass makes several times, as looped layers do.
    """

    selection: Selection
    turn: int
    positions: Sequence[int]

    def record(self, data: np.ndarray, dtype: str) -> CapturedActivation:
        """The values in numpy, as of a run's first step."""
        hook = self.selection.hook
        return CapturedActivation(
            hook_id=hook.hook_id,
            layer_name=hook.layer_name,
            layer=hook.layer,
            component=hook.component,
            step=0,
            positions=(self.positions[0], self.positions[-1]),
            is_input=self.selection.is_input,
            dtype=dtype,
            data=data,
            turn=self.turn,
        )


@dataclass(eq=False, slots=True)
class Stack:
    """What alike selections keep of one pass: values at `positions`, joined on the first axis.

    `nbytes` are those of all their records.
    """

    selections: Sequence[Selection]
    positions: Sequence[int]
    nbytes: int
    part: mx.array | None

    def move(self, turns: Counter[Selection]) -> Iterator[tuple[Kept, CapturedActivation]]:
        """A record of each value, with memory of its own in numpy; MLX's is given back.

        `turns` counts the values of each selection.
        """
        part, self.part = np.asarray(self.part), None
        part = part.reshape(len(self.selections), -1, *part.shape[1:])
        rows, dtype = self.selections[0].cut.rows(part)
        for selection, row in zip(self.selections, rows, strict=True):
            kept = Kept(selection, turns[selection], self.positions)
            turns[selection] += 1
            yield kept, kept.record(row, dtype)


@dataclass(eq=False)
class Pass:
    """One forward pass over `span`, of which hooks keep values at `positions`."""

    span: Span
    positions: range
    seen: list[tuple[Selection, mx.array]] = field(default_factory=list)
    stacks: list[Stack] = field(default_factory=list)
    nbytes: int = 0
    taken_bytes: int = 0
    _moving: Future[list[tuple[Kept, CapturedActivation]]] | None = None

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.span.first + self.span.length

    def stack(self, prompt_end: int) -> None:
        """Join what was seen and is alike, so that little has to be begun and moved."""
        groups: dict[object, list[tuple[Selection, mx.array]]] = {}
        for seen in self.seen:
            selection, value = seen
            alike = (value.shape, value.dtype, selection.cut) if value.nbytes < SMALL else object()
            groups.setdefault(alike, []).append(seen)
        self.seen = []
        for group in groups.values():
            selections, values = zip(*group, strict=True)
            cut = selections[0].cut
            positions = cut.reach(self.positions)
            if positions:
                joined = mx.concatenate(values) if values[1:] else values[0]
                part = mx.contiguous(cut.of(joined, self.span, positions))
                nbytes = cut.nbytes(part, prompt_end)
                self.stacks.append(Stack(selections, positions, nbytes, part))
                self.nbytes += nbytes

    def start(self) -> None:
        """Evaluate what was kept, where nobody needed the pass' result, as of a prompt's chunk."""
        mx.async_eval([stack.part for stack in self.stacks])

    def deliver(self) -> None:
        """Begin to move the values, which are evaluated or being so, to numpy."""
        if self.stacks and self._moving is None:
            self._moving = _delivery.submit(self._moved)

    def records(self) -> list[tuple[Kept, CapturedActivation]]:
        """A record of all that was kept."""
        if self._moving is None:
            self.start()
            self.deliver()
        return [] if self._moving is None else self._moving.result()

    def _moved(self) -> list[tuple[Kept, CapturedActivation]]:
        turns: Counter[Selection] = Counter()
        return [record for stack in self.stacks for record in stack.move(turns)]


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

    def records(self) -> Iterable[tuple[Kept, CapturedActivation]]:
        """A record of what was kept at positions of this part, with no keys after it."""
        records = self.source.records()
        return records if self.is_whole() else self._cut(records)

    def _cut(
        self, records: Iterable[tuple[Kept, CapturedActivation]]
    ) -> Iterator[tuple[Kept, CapturedActivation]]:
        for kept, record in records:
            places = self.places(kept.positions)
            if places:
                data = record.data.take(places, kept.selection.cut.axis)
                if kept.selection.cut.has_keys:
                    data = data[..., : self.stop].copy()
                positions = kept.positions[places[0]], kept.positions[places[-1]]
                yield kept, replace(record, positions=positions, data=data)
