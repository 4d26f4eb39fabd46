"""Interventions on one model in one run: what they change, and whether each of them did."""

from collections import Counter
from collections.abc import Iterator, Sequence

import mlx.core as mx

from engine.components import ComponentType
from engine.errors import (
    InterventionError,
    InvalidRequestError,
    UnknownComponentError,
    UnknownHeadError,
    UnknownLayerError,
    UnknownPositionError,
)
from engine.interventions.edits import Edit
from engine.interventions.intervention import AnyIntervention, Intervention, PointEdit
from engine.structure.places import check_heads, places_named
from engine.structure.resolver import Structure
from engine.taps.points import Point, Span, Visitor, Visitors
from engine.taps.position_sets import positions_of_run


class Interventions:
    """The interventions of one run over the positions of `run_positions`.

    Negative positions count from `prompt_end`. Those at one point act in the order in which they
    are given, and captures see the value after them all. Raises InterventionError, naming what
    exists, for one that cannot act.
    """

    def __init__(
        self,
        interventions: Sequence[AnyIntervention],
        structure: Structure,
        prompt_end: int,
        run_positions: range,
    ):
        self._end = run_positions.stop
        self.edits: list[PointEdit] = [
            edit
            for intervention in interventions
            for edit in _edits(intervention, structure, prompt_end, run_positions)
        ]

    @property
    def points(self) -> set[Point]:
        """Where something is changed."""
        return {edit.point for edit in self.edits}

    @property
    def first(self) -> int:
        """The first position that one of them changes; that after the run's if there is none."""
        return min((edit.first for edit in self.edits), default=self._end)

    @property
    def need_whole_sequence(self) -> bool:
        """Whether one of them needs all positions in one pass."""
        return any(edit.operation in ("mean", "function") for edit in self.edits)

    def visitors(self, *, without_functions: bool = False) -> Visitors:
        """One a point: its edits one after another, each of what the one before returned.

        Functions can be left out, which may not give the same values again.
        """
        edits: dict[Point, list[PointEdit]] = {}
        for edit in self.edits:
            if without_functions and edit.operation == "function":
                continue
            edits.setdefault(edit.point, []).append(edit)
        return {point: _in_turn(several) for point, several in edits.items()}

    def check_done(self, end: int) -> None:
        """Raise InterventionError if one did not act in a run that ended before `end`.

        That a text ended before the positions of one came is no error.
        """
        for edit in self.edits:
            if edit.first < end and not edit.acted:
                raise InterventionError(
                    f"{edit.name} never acted: the model calculated no such value in this run"
                )


def _in_turn(edits: Sequence[PointEdit]) -> Visitor:
    def visit(value: mx.array, span: Span) -> mx.array:
        for edit in edits:
            value = edit(value, span)
        return value

    return visit


def _edits(
    intervention: AnyIntervention, structure: Structure, prompt_end: int, run_positions: range
) -> Iterator[PointEdit]:
    if isinstance(intervention, Intervention):
        return _edits_of_component(intervention, structure, prompt_end, run_positions)
    return intervention.edits(structure, prompt_end, run_positions)


def _edits_of_component(
    intervention: Intervention, structure: Structure, prompt_end: int, run_positions: range
) -> Iterator[Edit]:
    what = f"{intervention.operation} of {intervention.component or intervention.layer_name}"
    try:
        places = places_named(intervention.layer_name, intervention.component, structure)
        for place in places:
            check_heads(intervention.heads, place, structure)
    except (
        UnknownLayerError,
        UnknownComponentError,
        UnknownHeadError,
        InvalidRequestError,
    ) as reason:
        raise InterventionError(f"{what} cannot act: {reason}") from reason
    if places[0].component is ComponentType.ROUTER_CHOICE:
        raise InterventionError(
            f"{what} cannot act: it is made of expert ids, not of numbers to calculate with; "
            f"change {ComponentType.ROUTER.value}"
        )
    try:
        positions = positions_of_run(intervention.positions, prompt_end, run_positions)
    except UnknownPositionError as reason:
        raise InterventionError(f"{what} cannot act: {reason}") from reason
    if positions is None and run_positions.stop == prompt_end:
        positions = run_positions  # the length is known, and one value may be given for it all
    _check_distinct("head", intervention.heads, what)
    if isinstance(positions, tuple):
        _check_distinct("position", positions, what)
    for place in places:
        ((point, _),) = place.points
        yield Edit(intervention, point, positions, prompt_end)


def _check_distinct(kind: str, numbers: tuple[int, ...] | None, what: str) -> None:
    for number, times in Counter(numbers or ()).items():
        if times > 1:
            raise InterventionError(f"{what} names {kind} {number} twice")
