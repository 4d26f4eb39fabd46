"""Keeps what hooks ask for, pass by pass, within a budget of bytes."""

from collections.abc import Iterable, Sequence

import mlx.core as mx

from engine.captures.groups import Grouping
from engine.captures.hooks import ResolvedHook
from engine.captures.passes import Pass, PassPart
from engine.captures.subsets import Selection, Subset
from engine.errors import CaptureTooLargeError, UnknownPositionError
from engine.taps.points import UNSEEN, Point, Span, sequence_axis
from engine.taps.position_sets import first_of, positions_of_run, within


class Recorder:
    """Records one run over the positions of `run_positions`; nothing outside of it is kept.

    Negative positions count from `prompt_end`. Those of `special` have tokens that hooks may
    exclude. Raises UnknownPositionError for a hook's position that the run does not run over, or
    if none is left to capture, CaptureTooLargeError before more than `budget_bytes` are kept.
    It marks values at a point with all that is selected there.
    """

    def __init__(
        self,
        hooks: Sequence[ResolvedHook],
        prompt_end: int,
        run_positions: range,
        budget_bytes: int | None = None,
        special: frozenset[int] = frozenset(),
    ):
        self.prompt_end = prompt_end
        self.run_positions = run_positions
        self.budget_bytes = budget_bytes
        self.held_bytes = 0
        self._special = special
        self.passes: list[Pass] = []
        self._grouping = Grouping()
        self._subsets: dict[tuple, Subset] = {}
        self.marks: dict[Point, list[Selection]] = {}
        for hook in hooks:
            for point, is_input in hook.points:
                selection = Selection(hook, point, is_input, self._subset(hook, point))
                self.marks.setdefault(point, []).append(selection)

    def begin_pass(self, span: Span, batch: int) -> None:
        positions = range(
            max(span.first, self.run_positions.start), min(sum(span), self.run_positions.stop)
        )
        self.passes.append(Pass(span, batch, positions, self.prompt_end))

    def end_pass(
        self, result: mx.array, seen: list[list[Selection]], values: list[mx.array]
    ) -> mx.array:
        """The pass' result, with which all that is kept is evaluated too.

        What the pass before kept is delivered from now on: the caller is about to evaluate, and
        leaves Python to others meanwhile.
        """
        current = self.passes[-1]
        if seen:
            current.keep(self._grouping.groups(seen, values), values)
        self.finish_pass()
        joined = [values.joined.kept for values in current.joined]
        return mx.depends(result, joined) if joined else result

    def finish_pass(self) -> None:
        """Charge what the last pass keeps to the budget, and deliver what the one before kept."""
        *earlier, current = self.passes
        self._charge(current.nbytes)
        if earlier:
            self._deliver(earlier[-1])

    def keeps(self, subset: Subset) -> bool:
        """Whether the last pass has a position that a subset keeps."""
        return bool(subset.positions_in(self.passes[-1].positions))

    @property
    def first(self) -> int:
        """The first position that it keeps something at; that after the run's if there is none."""
        end = self.run_positions.stop
        kept = (first_of(each.positions_in(self.run_positions)) for each in self.subsets)
        return min((each for each in kept if each is not None), default=end)

    @property
    def subsets(self) -> Iterable[Subset]:
        """The ways in which its selections subset."""
        return self._subsets.values()

    def start(self) -> None:
        """Begin to evaluate what the last pass kept, before the rest of its graph.

        It is delivered by `take`, once this thread has no more of that graph to evaluate: MLX's
        arrays are not for two threads at a time.
        """
        for last in self.passes[-1:]:
            last.start()

    def take(self, positions: range) -> list[PassPart]:
        """The parts of passes that cover positions, oldest first; older passes are forgotten.

        Of a position that was passed twice, as after a rejected draft, the last pass counts.
        """
        parts: list[PassPart] = []
        stop = positions.stop
        for each in reversed(self.passes):
            if each.span.first < stop:
                parts.insert(0, PassPart(each, max(each.span.first, positions.start), stop))
                stop = each.span.first
        self._forget_before(positions.stop, parts)
        return parts

    def _deliver(self, finished: Pass) -> None:
        if finished.end < self.prompt_end:
            finished.start()
        finished.deliver()

    def _forget_before(self, position: int, parts: list[PassPart]) -> None:
        """Forget passes, and give back to the budget what they kept and nobody took."""
        for part in parts:
            if part.is_whole():
                part.source.taken_bytes = part.source.nbytes
                continue
            for values in part.source.joined:
                share = len(part.places(values.positions)) / len(values.positions)
                part.source.taken_bytes += round(values.nbytes * share)
        for each in self.passes:
            if each.end <= position:
                self.held_bytes -= each.nbytes - each.taken_bytes
        self.passes = [each for each in self.passes if each.end > position]

    def _charge(self, nbytes: int) -> None:
        """Count bytes as held, if the budget allows."""
        needed = self.held_bytes + nbytes
        if self.budget_bytes is not None and needed > self.budget_bytes:
            raise CaptureTooLargeError(
                f"this capture needs at least {needed} bytes; the budget is {self.budget_bytes}"
            )
        self.held_bytes = needed

    def _subset(self, hook: ResolvedHook, point: Point) -> Subset:
        """One object for all selections that subset alike."""
        excluded = self._special if hook.exclude_special_tokens else frozenset()
        subset = (
            self._positions(hook, excluded),
            excluded,
            hook.heads,
            getattr(mx, hook.dtype),
            sequence_axis(point),
            point.component in UNSEEN,
            hook.shares.get(point),
        )
        return self._subsets.setdefault(subset, Subset(*subset))

    def _positions(
        self, hook: ResolvedHook, excluded: frozenset[int]
    ) -> range | tuple[int, ...] | None:
        try:
            positions = positions_of_run(hook.positions, self.prompt_end, self.run_positions)
        except UnknownPositionError as reason:
            raise UnknownPositionError(f"hook {hook.hook_id!r}: {reason}") from reason
        if excluded and not within(positions, excluded, self.run_positions):
            raise UnknownPositionError(
                f"hook {hook.hook_id!r}: all of its positions in this run have special tokens, "
                "which it excludes"
            )
        return positions
