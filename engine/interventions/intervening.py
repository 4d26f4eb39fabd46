"""Interventions on one model in one run: what they change, and whether each of them did."""

from collections.abc import Iterator, Sequence

import mlx.core as mx

from engine.components import ComponentType
from engine.errors import (
    InterventionError,
    InvalidRequestError,
    UnknownComponentError,
    UnknownHeadError,
    UnknownLayerError,
)
from engine.interventions.edits import Edit
from engine.interventions.intervention import Intervention
from engine.structure.places import check_heads, places_named
from engine.structure.resolver import Structure
from engine.taps.points import Point, Span, Visitor, Visitors


class Interventions:
    """The interventions of one run over the positions of `run_positions`.

    Negative positions count from `prompt_end`. Those at one point act in the order in which they
    are given, and captures see the value after them all. Raises InterventionError, naming what
    exists, for one that cannot act.
    """

    def __init__(
        self,
        interventions: Sequence[Intervention],
        structure: Structure,
        prompt_end: int,
        run_positions: range,
    ):
        self.edits = [
            edit
            for intervention in interventions
            for edit in _edits(intervention, structure, prompt_end, run_positions)
        ]

    def visitors(self) -> Visitors:
        """One a point: its edits one after another, each of what the one before returned."""
        edits: dict[Point, list[Edit]] = {}
        for edit in self.edits:
            edits.setdefault(edit.point, []).append(edit)
        return {point: _in_turn(several) for point, several in edits.items()}

    def check_done(self, end: int) -> None:
        """Raise InterventionError if one did not act where it was asked to before `end`."""
        for edit in self.edits:
            missed = [position for position in edit.positions or () if position >= end]
            if missed:
                raise InterventionError(
                    f"{edit.name} never acted on position {missed[0]}: "
                    f"the run ended with position {end - 1}"
                )
            if not edit.acted:
                raise InterventionError(
                    f"{edit.name} never acted: the model calculated no such value in this run"
                )


def _in_turn(edits: Sequence[Edit]) -> Visitor:
    def visit(value: mx.array, span: Span) -> mx.array:
        for edit in edits:
            value = edit(value, span)
        return value

    return visit


def _edits(
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
    positions = _positions(intervention, what, prompt_end, run_positions)
    _check_distinct("head", intervention.heads, what)
    _check_distinct("position", positions, what)
    for place in places:
        ((point, _),) = place.points
        yield Edit(intervention, point, positions)


def _positions(
    intervention: Intervention, what: str, prompt_end: int, run_positions: range
) -> tuple[int, ...] | None:
    if intervention.positions is None:
        return None
    absolute = tuple(p if p >= 0 else prompt_end + p for p in intervention.positions)
    for given, position in zip(intervention.positions, absolute, strict=True):
        if position not in run_positions:
            raise InterventionError(
                f"{what} cannot act on position {given}: "
                f"this run has positions {run_positions[0]} to {run_positions[-1]}"
            )
    return absolute


def _check_distinct(kind: str, numbers: tuple[int, ...] | None, what: str) -> None:
    for number in numbers or ():
        if numbers.count(number) > 1:
            raise InterventionError(f"{what} names {kind} {number} twice")
