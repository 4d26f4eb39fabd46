"""Keeps what hooks ask for, pass by pass, as MLX arrays that are evaluated with the pass."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import mlx.core as mx

from engine.captures.hooks import ResolvedHook
from engine.errors import CaptureTooLargeError, UnknownPositionError
from engine.taps.points import UNSEEN, Point, Span, Visitor, Visitors, sequence_axis

SMALL = 1 << 20
"""Bytes below which arrays of one shape are joined: one transfer to the host in place of many."""


@dataclass(eq=False)
class Selection:
    """What one hook keeps of the values at one of its points; None: all heads, all positions."""

    hook: ResolvedHook
    point: Point
    is_input: bool
    positions: tuple[int, ...] | None
    heads: mx.array | None
    dtype: mx.Dtype

    def of(self, value: mx.array, span: Span, positions: Sequence[int]) -> mx.array:
        """The selected part of a value that covers `span`."""
        if self.heads is not None:
            value = mx.take(value, self.heads, axis=1)
        if self.positions is not None or len(positions) < span.length:
            index = mx.array([position - span.first for position in positions])
            value = mx.take(value, index, axis=sequence_axis(self.point))
        return value

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
    value: mx.array | None
    nbytes: int


@dataclass(eq=False)
class Pass:
    """One forward pass: its positions that are recorded, and what was kept.

    `stacks` are evaluated arrays, each of the values of several alike, one after another on a
    leading axis.
    """

    span: Span
    positions: range
    kept: list[Kept] = field(default_factory=list)
    stacks: list[tuple[list[Kept], mx.array]] = field(default_factory=list)
    turns: Counter[tuple[str, bool]] = field(default_factory=Counter)
    nbytes: int = 0
    taken_bytes: int = 0

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.span.first + self.span.length

    def stack(self) -> list[mx.array]:
        """Join what is alike, so that little has to be begun and moved."""
        groups: dict[object, list[Kept]] = {}
        for kept in self.kept:
            alike = (kept.value.shape, kept.value.dtype, kept.selection.dtype)
            groups.setdefault(alike if kept.value.nbytes < SMALL else id(kept), []).append(kept)
        for group in groups.values():
            shape = group[0].value.shape
            joined = mx.concatenate([kept.value for kept in group]) if group[1:] else group[0].value
            stored = group[0].selection.stored(joined).reshape(len(group), *shape)
            self.stacks.append((group, mx.contiguous(stored)))
            for kept in group:
                kept.value = None
        return [stack for _, stack in self.stacks]


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


class Recorder:
    """Records one run over the positions of `reach`; nothing outside of it is kept.

    Negative positions count from `prompt_end`. Raises UnknownPositionError for a hook's position
    that the run does not reach, CaptureTooLargeError before more than `budget_bytes` are kept.
    """

    def __init__(
        self,
        hooks: Sequence[ResolvedHook],
        prompt_end: int,
        reach: range,
        budget_bytes: int | None = None,
    ):
        self.prompt_end = prompt_end
        self.reach = reach
        self.budget_bytes = budget_bytes
        self.held_bytes = 0
        self.passes: list[Pass] = []
        self._selections = [selection for hook in hooks for selection in self._selected(hook)]

    def visitors(self) -> Visitors:
        """One visitor for each point that a hook asks for."""
        wanted: dict[Point, list[Selection]] = {}
        for selection in self._selections:
            wanted.setdefault(selection.point, []).append(selection)
        return {point: self._visitor(selections) for point, selections in wanted.items()}

    def begin_pass(self, span: Span) -> None:
        self._start(self.passes)
        positions = range(max(span.first, self.reach.start), min(sum(span), self.reach.stop))
        self.passes.append(Pass(span, positions))

    def end_pass(self, result: mx.array) -> mx.array:
        """The pass' result, with which all that was kept is evaluated too."""
        stacks = self.passes[-1].stack()
        return mx.depends(result, stacks) if stacks else result

    def take(self, positions: range) -> list[Taken]:
        """The parts of passes that cover positions, oldest first; older passes are forgotten.

        Of a position that was passed twice, as after a rejected draft, the last pass counts.
        """
        parts: list[Taken] = []
        stop = positions.stop
        for each in reversed(self.passes):
            if each.span.first < stop:
                parts.insert(0, Taken(each, max(each.span.first, positions.start), stop))
                stop = each.span.first
        self._start([part.source for part in parts])
        self._forget_before(positions.stop, parts)
        return parts

    def _start(self, passes: Sequence[Pass]) -> None:
        """Start what a pass left to do whose result nobody needed, as of a prompt's chunk."""
        mx.async_eval([stack for each in passes for _, stack in each.stacks])

    def _forget_before(self, position: int, parts: list[Taken]) -> None:
        """Forget passes, and give back to the budget what they kept and nobody took."""
        for part in parts:
            if part.is_whole():
                part.source.taken_bytes = part.source.nbytes
                continue
            for kept in part.source.kept:
                share = len(part.places(kept.positions)) / len(kept.positions)
                part.source.taken_bytes += round(kept.nbytes * share)
        for each in self.passes:
            if each.end <= position:
                self.held_bytes -= each.nbytes - each.taken_bytes
        self.passes = [each for each in self.passes if each.end > position]

    def _visitor(self, selections: list[Selection]) -> Visitor:
        def visit(value: mx.array, span: Span) -> mx.array:
            for selection in selections:
                self._keep(selection, value, span)
            return value

        return visit

    def _keep(self, selection: Selection, value: mx.array, span: Span) -> None:
        current = self.passes[-1]
        positions: Sequence[int] = current.positions
        if selection.positions is not None:
            positions = [p for p in selection.positions if p in current.positions]
        if not positions:
            return
        value = selection.of(value, span, positions)
        nbytes = self._charged(selection, value)
        current.nbytes += nbytes
        key = selection.hook.hook_id, selection.is_input
        current.kept.append(Kept(selection, current.turns[key], positions, value, nbytes))
        current.turns[key] += 1

    def _charged(self, selection: Selection, value: mx.array) -> int:
        """The bytes that a value takes in its record, counted as held, if the budget allows."""
        wide = mx.issubdtype(value.dtype, mx.floating)
        nbytes = value.size * (selection.dtype.size if wide else value.itemsize)
        if selection.point.component in UNSEEN and value.shape[-1] < self.prompt_end:
            nbytes = nbytes // value.shape[-1] * self.prompt_end
        needed = self.held_bytes + nbytes
        if self.budget_bytes is not None and needed > self.budget_bytes:
            raise CaptureTooLargeError(
                f"this capture needs at least {needed} bytes; the budget is {self.budget_bytes}"
            )
        self.held_bytes = needed
        return nbytes

    def _selected(self, hook: ResolvedHook) -> list[Selection]:
        heads = None if hook.heads is None else mx.array(hook.heads)
        positions, dtype = self._absolute(hook), getattr(mx, hook.dtype)
        return [
            Selection(hook, point, is_input, positions, heads, dtype)
            for point, is_input in hook.points
        ]

    def _absolute(self, hook: ResolvedHook) -> tuple[int, ...] | None:
        if hook.positions is None:
            return None
        absolute = tuple(p if p >= 0 else self.prompt_end + p for p in hook.positions)
        for given, position in zip(hook.positions, absolute, strict=True):
            if position not in self.reach:
                raise UnknownPositionError(
                    f"position {given} of hook {hook.hook_id!r} is outside this run, which has "
                    f"positions {self.reach[0]} to {self.reach[-1]}"
                )
        return absolute
