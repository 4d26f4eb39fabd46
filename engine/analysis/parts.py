"""The parts of a model that an analysis changes: where they are, and as masks of values."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.components import NEURONS, PER_HEAD, ComponentType
from engine.errors import (
    InvalidRequestError,
    UnknownComponentError,
    UnknownHeadError,
    UnknownNeuronError,
    UnknownPositionError,
)
from engine.runs.kit import ModelKit
from engine.structure.places import component_named, places_named
from engine.taps.points import Point

COMPONENTS = ("residual", "attention", "mlp", "mlp_hidden", "head_output")
Masks = Mapping[Point, np.ndarray]
"""For each point true where its value is replaced: ``[heads, seq, 1]``, ``[seq, neurons]`` or
``[seq, 1]``."""


@dataclass(frozen=True)
class CircuitPart:
    """A part by its names: a component of a layer, or one head or neuron of it, at some positions.

    `positions` None are all; negative ones count from the end of the prompt.
    """

    layer: int
    component: ComponentType | str = ComponentType.HEAD_OUTPUT
    head: int | None = None
    neuron: int | None = None
    positions: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Part:
    """A part of one model over one prompt.

    `unit` is the head, or the neuron, or None for all of the component.
    """

    point: Point
    unit: int | None
    positions: tuple[int, ...]


def check_component(component: str) -> ComponentType:
    """The component of a name, its own or TransformerLens's.

    Raises InvalidRequestError, with those that have parts, for another.
    """
    try:
        found = component_named(component)
    except UnknownComponentError:
        found = None
    if found not in COMPONENTS:
        raise InvalidRequestError(f"component: {component!r} is none of {', '.join(COMPONENTS)}")
    return found


def points_of(kit: ModelKit, component: ComponentType, layers: Sequence[int] | None) -> list[Point]:
    """The points of a component in `layers`, in their order (None: in all that have it).

    Raises UnknownLayerError, UnknownComponentError, and InvalidRequestError for none, or for a
    value that has other axes than its component's, as the neurons of chosen experts have.
    """
    if layers is not None and len(layers) == 0:
        raise InvalidRequestError("layers: at least one is needed")
    for layer, times in Counter(layers or ()).items():
        if times > 1:
            raise InvalidRequestError(f"layers: {layer} is given twice")
    names = ["*"] if layers is None else [str(layer) for layer in layers]
    points = [
        Point(place.layer, component)
        for name in names
        for place in places_named(name, component, kit.structure)
    ]
    for point in points:
        if component in NEURONS and len(kit.structure.shapes[point]) != 3:
            raise InvalidRequestError(
                f"{component} of layer {point.layer} belongs to the experts that each token "
                "chooses; a neuron of it is not the same at all positions"
            )
    return points


def units_of(kit: ModelKit, point: Point) -> int | None:
    """How many heads or neurons a component has; None if it is not made of such units."""
    shape = kit.structure.shapes[point]
    if point.component in PER_HEAD:
        return shape[1]
    return shape[-1] if point.component in NEURONS else None


def resolved(kit: ModelKit, part: CircuitPart, length: int) -> Part:
    """A part of a model over a prompt of `length` tokens.

    Raises InvalidRequestError, UnknownLayerError, UnknownComponentError, UnknownHeadError,
    UnknownNeuronError, UnknownPositionError, each naming what exists.
    """
    (point,) = points_of(kit, check_component(part.component), [part.layer])
    count = units_of(kit, point) or 0
    unit, where = None, f"{point.component} of layer {part.layer}"
    for kind, number, kinds, error in (
        ("head", part.head, PER_HEAD, UnknownHeadError),
        ("neuron", part.neuron, NEURONS, UnknownNeuronError),
    ):
        if number is None:
            continue
        if point.component not in kinds:
            raise error(f"{where} has no {kind}s to select")
        if not 0 <= number < count:
            raise error(f"{kind} {number}: {where} has {kind}s 0 to {count - 1}")
        unit = number
    positions = range(length) if part.positions is None else positions_in(part.positions, length)
    return Part(point, unit, tuple(positions))


def groups_of(
    positions: Literal["all", "each"] | Sequence[int], length: int
) -> list[tuple[int, ...]]:
    """The groups of positions of a prompt that are changed together."""
    if positions == "each":
        return [(position,) for position in range(length)]
    if positions == "all":
        return [tuple(range(length))]
    if isinstance(positions, str) or not positions:
        raise InvalidRequestError(f"positions: {positions!r} is none of all, each, a list")
    return [positions_in(positions, length)]


def positions_in(positions: Sequence[int], length: int) -> tuple[int, ...]:
    """Positions counted from the start, each once, in rising order."""
    if not positions:
        raise InvalidRequestError("positions: at least one is needed")
    for position in positions:
        if not -length <= position < length:
            raise UnknownPositionError(
                f"position {position}: the prompts have positions 0 to {length - 1}"
            )
    return tuple(sorted({position % length for position in positions}))


def masks_of(parts: Iterable[Part], shapes: Mapping[Point, tuple[int, ...]]) -> Masks:
    """Masks that are true at all parts, by the shapes ``[1, …]`` of the values."""
    masks: dict[Point, np.ndarray] = {}
    for part in parts:
        mask = masks.get(part.point)
        if mask is None:
            mask = masks[part.point] = np.zeros(_mask_shape(part.point, shapes[part.point]), bool)
        places = list(part.positions)
        if part.unit is None:
            mask[..., places, :] = True
        elif part.point.component in PER_HEAD:
            mask[part.unit, places] = True
        else:
            mask[places, part.unit] = True
    return masks


def _mask_shape(point: Point, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if point.component in NEURONS else (*shape[1:-1], 1)
