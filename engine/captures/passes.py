"""What hooks keep of one forward pass: seen lazily, evaluated with the pass, moved to numpy."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import mlx.core as mx

from engine.captures.cuts import Cut, Selection
from engine.captures.delivery import Delivery
from engine.captures.groups import Group
from engine.captures.host_memory import on_host
from engine.captures.records import Activations, CapturedActivation, by_hook
from engine.taps.points import Span, canonical


@dataclass(eq=False, slots=True)
class Stack:
    """What alike selections keep of one pass: values at `positions`, joined on the first axis.

    `nbytes` are those of all their records.
    """

    selections: Sequence[Selection]
    positions: Sequence[int]
    nbytes: int
    part: mx.array | None

    def move(self, step: int, turns: Counter[Selection]) -> Iterator[CapturedActivation]:
        """A record of each value in numpy; MLX's memory is given back.

        `turns` counts the values of each selection: a pass may visit a point several times, as
        looped layers do.
        """
        part, is_copy = on_host(self.part)
        self.part = None
        part = part.reshape(len(self.selections), -1, *part.shape[1:])
        rows, dtype = self.selections[0].cut.rows(part, is_copy)
        for selection, row in zip(self.selections, rows, strict=True):
            hook, turn = selection.hook, turns[selection]
            turns[selection] += 1
            yield CapturedActivation(
                hook_id=hook.hook_id,
                layer_name=hook.layer_name,
                layer=hook.layer,
                component=hook.component,
                step=step,
                positions=(self.positions[0], self.positions[-1]),
                is_input=selection.is_input,
                dtype=dtype,
                data=row,
                turn=turn,
            )


@dataclass(eq=False, frozen=True, slots=True)
class Moved:
    """What was kept of a pass, in numpy: records in the order of its stacks, and by their hooks."""

    records: list[CapturedActivation]
    activations: Activations


@dataclass(eq=False)
class Pass:
    """One forward pass over `span`, of which hooks keep values at `positions`.

    A run's first step is the whole prompt up to `prompt_end`, each position from there on is a
    step of its own.
    """

    span: Span
    batch: int
    positions: range
    prompt_end: int
    stacks: list[Stack] = field(default_factory=list)
    nbytes: int = 0
    taken_bytes: int = 0
    _moving: Delivery[Moved] | None = None

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.span.first + self.span.length

    def step(self, position: int) -> int:
        """The step of the run that a position belongs to."""
        return max(0, position - self.prompt_end + 1)

    def keep(self, groups: Sequence[Group], values: Sequence[mx.array]) -> None:
        """Cut and join values: little has to be begun and moved then."""
        for group in groups:
            positions = group.cut.reach(self.positions)
            if positions:
                batch = self.batch * len(group.selections)
                value = canonical(group.joined(values), group.cut.axis, batch, self.span.length)
                part = mx.contiguous(group.cut.of(value, self.span, positions))
                nbytes = group.cut.nbytes(part, self.prompt_end)
                self.stacks.append(Stack(group.selections, positions, nbytes, part))
                self.nbytes += nbytes

    def start(self) -> None:
        """Evaluate what was kept, where nobody needed the pass' result, as of a prompt's chunk."""
        mx.async_eval([stack.part for stack in self.stacks])

    def deliver(self) -> None:
        """Begin to move the values, which are evaluated or being so, to numpy."""
        if self.stacks and self._moving is None:
            self._moving = Delivery(self._move)

    def moved(self) -> Moved:
        """A record of all that was kept."""
        if self._moving is None:
            self.start()
            self.deliver()
        return Moved([], {}) if self._moving is None else self._moving.result()

    def _move(self) -> Moved:
        turns: Counter[Selection] = Counter()
        step = self.step(self.span.first)
        records = [record for stack in self.stacks for record in stack.move(step, turns)]
        return Moved(records, by_hook(records))


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

    def records(self) -> Iterator[tuple[Selection, CapturedActivation]]:
        """A record of what was kept at positions of this part, with no keys after it."""
        kept = [(stack, each) for stack in self.source.stacks for each in stack.selections]
        is_whole = self.is_whole()
        for (stack, selection), record in zip(kept, self.source.moved().records, strict=True):
            if is_whole:
                yield selection, record
            elif places := self.places(stack.positions):
                yield selection, self._cut(record, places, stack.positions, selection.cut)

    def _cut(
        self, record: CapturedActivation, places: Sequence[int], positions: Sequence[int], cut: Cut
    ) -> CapturedActivation:
        data = record.data.take(places, cut.axis)
        if cut.has_keys:
            data = data[..., : self.stop].copy()
        first, last = positions[places[0]], positions[places[-1]]
        return replace(record, positions=(first, last), step=self.source.step(first), data=data)
