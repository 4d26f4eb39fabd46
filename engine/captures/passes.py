"""What hooks keep of one forward pass: seen lazily, evaluated with the pass, moved to numpy."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import mlx.core as mx

from engine.captures.delivery import Delivery
from engine.captures.groups import Group
from engine.captures.joined import Joined, JoinedValues
from engine.captures.records import Activations, CapturedActivation, by_hook, listed, step_of
from engine.captures.subsets import Selection, Subset
from engine.taps.points import Span, canonical


@dataclass(eq=False, frozen=True, slots=True)
class HostRecords:
    """What was kept of a pass, in numpy: records in the order of its joined, and by their hooks."""

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
    joined: list[JoinedValues] = field(default_factory=list)
    nbytes: int = 0
    taken_bytes: int = 0
    _moving: Delivery[HostRecords] | None = None

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.span.first + self.span.length

    def step(self, position: int) -> int:
        """The step of the run that a position belongs to."""
        return step_of(position, self.prompt_end)

    def keep(self, groups: Sequence[Group], values: Sequence[mx.array]) -> None:
        """Select and join values: little has to be begun and moved then."""
        for group in groups:
            positions = group.subset.positions_in(self.positions)
            if positions:
                batch = self.batch * len(group.selections)
                value = canonical(group.joined(values), group.subset.axis, batch, self.span.length)
                part = mx.contiguous(group.subset.of(value, self.span, positions))
                nbytes = group.subset.nbytes(part, self.prompt_end)
                joined = Joined(len(group.selections), part)
                self.add(JoinedValues(group.selections, positions, nbytes, joined))

    def add(self, values: JoinedValues) -> None:
        """Keep values that have been selected and joined."""
        self.joined.append(values)
        self.nbytes += values.nbytes

    def start(self) -> None:
        """Evaluate what was kept, where nobody needed the pass' result, as of a prompt's chunk.

        What is shared with other runs is evaluated with the pass, and may be on its way already.
        """
        mx.async_eval([values.joined.kept for values in self.joined if values.row is None])

    def deliver(self) -> None:
        """Begin to move the values, which are evaluated or being so, to numpy."""
        if self.joined and self._moving is None:
            self._moving = Delivery(self._move)

    def host_records(self) -> HostRecords:
        """A record of all that was kept."""
        if self._moving is None:
            self.start()
            self.deliver()
        return HostRecords([], {}) if self._moving is None else self._moving.result()

    def _move(self) -> HostRecords:
        visits: Counter[Selection] = Counter()
        step = self.step(self.span.first)
        records = [record for values in self.joined for record in values.to_host(step, visits)]
        return HostRecords(records, by_hook(records))


@dataclass(eq=False)
class PassPart:
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
        kept = [(values, each) for values in self.source.joined for each in values.selections]
        is_whole = self.is_whole()
        for (values, selection), record in zip(
            kept, self.source.host_records().records, strict=True
        ):
            if is_whole:
                yield selection, record
            elif places := self.places(values.positions):
                yield selection, self._subset_of(record, places, values.positions, selection.subset)

    def _subset_of(
        self,
        record: CapturedActivation,
        places: Sequence[int],
        positions: Sequence[int],
        subset: Subset,
    ) -> CapturedActivation:
        data = record.data.take(places, subset.axis)
        if subset.has_keys:
            data = data[..., : self.stop].copy()
        covered = [positions[place] for place in places]
        return replace(
            record,
            positions=(covered[0], covered[-1]),
            position_list=listed(covered),
            step=self.source.step(covered[0]),
            data=data,
        )
