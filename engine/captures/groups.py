"""Which values of a pass are joined: one transfer to the host in place of many."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import mlx.core as mx

from engine.captures.subsets import Selection, Subset

SMALL = 1 << 20
"""Bytes below which arrays of one shape are joined."""


@dataclass(eq=False, slots=True)
class Group:
    """Selections of the same subset, and the places of their values, alike too, in a pass."""

    subset: Subset
    selections: list[Selection] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def joined(self, values: Sequence[mx.array]) -> mx.array:
        """The group's values, one after another on the first axis."""
        if len(self.places) == 1:
            return values[self.places[0]]
        return mx.concatenate([values[place] for place in self.places])


class Grouping:
    """The groups of passes, found anew where a pass has other values than the one before.

    Passes over one token after another have the same. What a model calculates at a point has one
    dtype wherever it has one shape.
    """

    def __init__(self):
        self._found_for: tuple | None = None
        self._groups: list[Group] = []

    def groups(self, seen: list[list[Selection]], values: list[mx.array]) -> list[Group]:
        """The groups of the values of a pass, each of which several hooks may have selected."""
        found_for = seen, [value.shape for value in values]
        if found_for != self._found_for:
            self._found_for, self._groups = found_for, _grouped(seen, values)
        return self._groups


def _grouped(seen: list[list[Selection]], values: list[mx.array]) -> list[Group]:
    groups: dict[object, Group] = {}
    for place, (selections, value) in enumerate(zip(seen, values, strict=True)):
        for selection in selections:
            subset = selection.subset
            alike = (subset, value.shape, value.dtype) if value.nbytes < SMALL else object()
            group = groups.setdefault(alike, Group(subset))
            group.selections.append(selection)
            group.places.append(place)
    return list(groups.values())
