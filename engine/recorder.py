"""Keeps what hooks ask for, pass by pass, as MLX arrays that are evaluated with the pass."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import mlx.core as mx

from engine.errors import CaptureTooLargeError, UnknownPositionError
from engine.hooks import ResolvedHook
from engine.points import UNSEEN, Point, Span, Visitor, Visitors, sequence_axis

SMALL = 1 << 20
"""Bytes below which arrays of one shape are stacked: one transfer to the host in place of many."""


@dataclass(eq=False)
class Kept:
    """What one hook keeps of one pass: `array` has the values at `positions`.

    `turn` counts the visits at a point that a pass makes several times, as looped layers do.
    """

    hook: ResolvedHook
    point: Point
    is_input: bool
    turn: int
    positions: Sequence[int]
    array: mx.array | None
    nbytes: int

    @property
    def key(self) -> tuple[str, bool, int]:
        return self.hook.hook_id, self.is_input, self.turn


@dataclass(eq=False)
class Pass:
    """One forward pass and what was kept of it, equal shapes stacked in one array."""

    span: Span
    kept: list[Kept] = field(default_factory=list)
    stacks: list[tuple[list[Kept], mx.array]] = field(default_factory=list)
    nbytes: int = 0
    taken_bytes: int = 0

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.span.first + self.span.length


@dataclass(eq=False)
class Taken:
    """The part of a pass that belongs to a step: its positions from `start` to `stop`."""

    source: Pass
    start: int
    stop: int

    def places(self, kept: Kept) -> list[int]:
        """Where in the kept array the positions of this part are."""
        return [i for i, p in enumerate(kept.positions) if self.start <= p < self.stop]


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
        self.hooks = hooks
        self.prompt_end = prompt_end
        self.reach = reach
        self.budget_bytes = budget_bytes
        self.held_bytes = 0
        self.passes: list[Pass] = []
        self._positions = {hook.hook_id: self._absolute(hook) for hook in hooks}

    def visitors(self) -> Visitors:
        """One visitor for each point that a hook asks for."""
        wanted: dict[Point, list[tuple[ResolvedHook, bool]]] = {}
        for hook in self.hooks:
            for point, is_input in hook.points:
                wanted.setdefault(point, []).append((hook, is_input))
        return {point: self._visitor(point, hooks) for point, hooks in wanted.items()}

    def begin_pass(self, span: Span) -> None:
        self._start(self.passes)
        self.passes.append(Pass(span))

    def end_pass(self, result: mx.array) -> mx.array:
        """The pass' result, with which all that was kept is evaluated too."""
        current = self.passes[-1]
        groups: dict[object, list[Kept]] = {}
        for kept in current.kept:
            alike = (kept.array.shape, kept.array.dtype)
            groups.setdefault(alike if kept.array.nbytes < SMALL else id(kept), []).append(kept)
        for group in groups.values():
            arrays = [kept.array for kept in group]
            current.stacks.append((group, mx.stack(arrays) if len(group) > 1 else arrays[0]))
            for kept in group:
                kept.array = None
        stacks = [stack for _, stack in current.stacks]
        return mx.depends(result, stacks) if stacks else result

    def _start(self, passes: Sequence[Pass]) -> None:
        """Start what a pass left to do whose result nobody needed, as of a prompt's chunk."""
        mx.async_eval([stack for each in passes for _, stack in each.stacks])

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
        for part in parts:
            for kept in part.source.kept:
                share = len(part.places(kept)) / len(kept.positions)
                part.source.taken_bytes += round(kept.nbytes * share)
        self._forget_before(positions.stop)
        return parts

    def _forget_before(self, position: int) -> None:
        for each in self.passes:
            if each.end <= position:
                self.held_bytes -= each.nbytes - each.taken_bytes
        self.passes = [each for each in self.passes if each.end > position]

    def _visitor(self, point: Point, hooks: list[tuple[ResolvedHook, bool]]) -> Visitor:
        def visit(value: mx.array, span: Span) -> mx.array:
            for hook, is_input in hooks:
                self._keep(hook, point, is_input, value, span)
            return value

        return visit

    def _keep(
        self, hook: ResolvedHook, point: Point, is_input: bool, value: mx.array, span: Span
    ) -> None:
        here = range(max(span.first, self.reach.start), min(sum(span), self.reach.stop))
        chosen = self._positions[hook.hook_id]
        positions = here if chosen is None else [p for p in chosen if p in here]
        if not positions:
            return
        if hook.heads is not None:
            value = mx.take(value, mx.array(hook.heads), axis=1)
        if len(positions) < span.length or chosen is not None:
            index = mx.array([position - span.first for position in positions])
            value = mx.take(value, index, axis=sequence_axis(point))
        if mx.issubdtype(value.dtype, mx.floating):
            value = value.astype(getattr(mx, hook.dtype))
        if value.dtype == mx.bfloat16:
            value = value.view(mx.uint16)
        current = self.passes[-1]
        nbytes = self._charged(point, value)
        current.nbytes += nbytes
        turn = sum(k.point == point and k.hook is hook for k in current.kept)
        kept = Kept(hook, point, is_input, turn, positions, mx.contiguous(value), nbytes)
        current.kept.append(kept)

    def _charged(self, point: Point, value: mx.array) -> int:
        """The bytes that a value takes in its record, counted as held, if the budget allows."""
        nbytes = value.nbytes
        if point.component in UNSEEN and value.shape[-1] < self.prompt_end:
            nbytes = nbytes // value.shape[-1] * self.prompt_end
        needed = self.held_bytes + nbytes
        if self.budget_bytes is not None and needed > self.budget_bytes:
            raise CaptureTooLargeError(
                f"this capture needs at least {needed} bytes; the budget is {self.budget_bytes}"
            )
        self.held_bytes = needed
        return nbytes

    def _absolute(self, hook: ResolvedHook) -> list[int] | None:
        if hook.positions is None:
            return None
        absolute = [p if p >= 0 else self.prompt_end + p for p in hook.positions]
        for given, position in zip(hook.positions, absolute, strict=True):
            if position not in self.reach:
                raise UnknownPositionError(
                    f"position {given} of hook {hook.hook_id!r} is outside this run, which has "
                    f"positions {self.reach[0]} to {self.reach[-1]}"
                )
        return absolute
