"""Keeps what hooks ask for, pass by pass, within a budget of bytes."""

from collections.abc import Sequence

import mlx.core as mx

from engine.captures.hooks import ResolvedHook
from engine.captures.passes import Cut, Pass, Selection, Taken
from engine.errors import CaptureTooLargeError, UnknownPositionError
from engine.taps.points import UNSEEN, Point, Span, Visitor, Visitors, sequence_axis


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
        self._cuts: dict[tuple, Cut] = {}
        self._selections = [selection for hook in hooks for selection in self._selected(hook)]

    def visitors(self) -> Visitors:
        """One visitor for each point that a hook asks for."""
        wanted: dict[Point, list[Selection]] = {}
        for selection in self._selections:
            wanted.setdefault(selection.point, []).append(selection)
        return {point: self._visitor(selections) for point, selections in wanted.items()}

    def begin_pass(self, span: Span) -> None:
        if self.passes:
            self._deliver(self.passes[-1])
        positions = range(max(span.first, self.reach.start), min(sum(span), self.reach.stop))
        self.passes.append(Pass(span, positions))

    def end_pass(self, result: mx.array) -> mx.array:
        """The pass' result, with which all that was kept is evaluated too."""
        current = self.passes[-1]
        current.stack(self.prompt_end)
        self._charge(current.nbytes)
        stacks = [stack.part for stack in current.stacks]
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
        self._forget_before(positions.stop, parts)
        return parts

    def _deliver(self, finished: Pass) -> None:
        if finished.end < self.prompt_end:
            finished.start()
        finished.deliver()

    def _forget_before(self, position: int, parts: list[Taken]) -> None:
        """Forget passes, and give back to the budget what they kept and nobody took."""
        for part in parts:
            if part.is_whole():
                part.source.taken_bytes = part.source.nbytes
                continue
            for stack in part.source.stacks:
                share = len(part.places(stack.positions)) / len(stack.positions)
                part.source.taken_bytes += round(stack.nbytes * share)
        for each in self.passes:
            if each.end <= position:
                self.held_bytes -= each.nbytes - each.taken_bytes
        self.passes = [each for each in self.passes if each.end > position]

    def _visitor(self, selections: list[Selection]) -> Visitor:
        def visit(value: mx.array, span: Span) -> mx.array:
            seen = self.passes[-1].seen
            for selection in selections:
                seen.append((selection, value))
            return value

        return visit

    def _charge(self, nbytes: int) -> None:
        """Count bytes as held, if the budget allows."""
        needed = self.held_bytes + nbytes
        if self.budget_bytes is not None and needed > self.budget_bytes:
            raise CaptureTooLargeError(
                f"this capture needs at least {needed} bytes; the budget is {self.budget_bytes}"
            )
        self.held_bytes = needed

    def _selected(self, hook: ResolvedHook) -> list[Selection]:
        return [
            Selection(hook, point, is_input, self._cut(hook, point))
            for point, is_input in hook.points
        ]

    def _cut(self, hook: ResolvedHook, point: Point) -> Cut:
        """One object for all selections that cut alike."""
        cut = (
            self._absolute(hook),
            hook.heads,
            getattr(mx, hook.dtype),
            sequence_axis(point),
            point.component in UNSEEN,
        )
        return self._cuts.setdefault(cut, Cut(*cut))

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
