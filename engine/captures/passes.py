"""What hooks keep of one forward pass: seen lazily, evaluated with the pass, moved to numpy."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import mlx.core as mx
import numpy as np

from engine.captures.cuts import Selection
from engine.captures.delivery import Delivery
from engine.captures.groups import Group
from engine.captures.records import CapturedActivation
from engine.taps.points import Span, canonical


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
    batch: int
    positions: range
    stacks: list[Stack] = field(default_factory=list)
    nbytes: int = 0
    taken_bytes: int = 0
    _moving: Delivery[list[tuple[Kept, CapturedActivation]]] | None = None

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.span.first + self.span.length

    def keep(self, groups: Sequence[Group], values: Sequence[mx.array], prompt_end: int) -> None:
        """Cut and join values: little has to be begun and moved then."""
        for group in groups:
            positions = group.cut.reach(self.positions)
            if positions:
                batch = self.batch * len(group.selections)
                value = canonical(group.joined(values), group.cut.axis, batch, self.span.length)
                part = mx.contiguous(group.cut.of(value, self.span, positions))
                nbytes = group.cut.nbytes(part, prompt_end)
                self.stacks.append(Stack(group.selections, positions, nbytes, part))
                self.nbytes += nbytes

    def start(self) -> None:
        """Evaluate what was kept, where nobody needed the pass' result, as of a prompt's chunk."""
        mx.async_eval([stack.part for stack in self.stacks])

    def deliver(self) -> None:
        """Begin to move the values, which are evaluated or being so, to numpy."""
        if self.stacks and self._moving is None:
            self._moving = Delivery(self._moved)

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
