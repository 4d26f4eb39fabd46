"""Where a name says that something is to be seen or changed: components of layers of one model.

A place is asked for by a layer name, a component, or both. Names come from three vocabularies: this
project's components, TransformerLens's hook names, and module paths as transformers and mlx-lm
have them. A TransformerLens name denotes one value, so it says the component and the side; a module
path says the component once it is known whether the module's input or its output is asked for.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mlx.nn as nn

from engine.components import PER_HEAD, WHOLE_MODEL
from engine.components import ComponentType as C
from engine.errors import (
    InvalidRequestError,
    UnknownComponentError,
    UnknownHeadError,
    UnknownLayerError,
)
from engine.field_names import BY_NAME
from engine.structure.parts import in_other_part, value_of_usual_module
from engine.structure.resolver import Structure
from engine.taps.points import Point

_IN_LAYERS = re.compile(
    r"(?P<stem>(?:[A-Za-z_]\w*\.)*)(?:(?P<first>[0-9]{1,9})(?:-(?P<last>[0-9]{1,9}))?|\*)"
    r"(?:\.(?P<inside>[A-Za-z_][\w.]*))?"
)
_WHOLE_MODEL = {
    C.EMBEDDING: re.compile(r"embedding|(?:\w+\.)*(?:wte|(?!\w*(?:pos|norm|unembed))\w*embed\w*)"),
    C.FINAL_NORM: re.compile(r"(?:\w+\.)*(?:ln_f|(?!\w*embed)\w*norm\w*)"),
    C.LOGITS: re.compile(r"(?:\w+\.)*(?:lm_head|logits|\w*unembed\w*|output)"),
}
HOOK_NAME = re.compile(r"(?:.*\.)?hook_\w+")


@dataclass(frozen=True)
class Place:
    """A component of one layer (None: of the whole model), and the points asked for, each with
    whether it is asked for as the component's input."""

    layer: int | None
    component: C
    points: tuple[tuple[Point, bool], ...]


@dataclass(frozen=True)
class _Sides:
    """Which sides were asked for; None where nothing was said."""

    capture_input: bool | None
    capture_output: bool | None

    @property
    def asked(self) -> tuple[bool, ...]:
        """Whether each side is an input; the output by itself if nothing was said."""
        into, out = self.capture_input, self.capture_output
        sides = (True,) * (into is True) + (False,) * (out is not False)
        if not sides:
            raise InvalidRequestError("a hook captures its input, its output, or both, not neither")
        return sides

    def check_only(self, is_input: bool, name: str) -> None:
        """Raise if anything else was asked for than the one side that a name denotes."""
        into, out = self.capture_input, self.capture_output
        if into is (not is_input) or out is is_input:
            side, wanted = ("input", "capture_input") if is_input else ("output", "capture_output")
            raise InvalidRequestError(
                f"{name!r} names one value, the {side} of a component: "
                f"it is captured without more, or with {wanted} alone"
            )


def places_named(
    layer_name: str,
    component: C | str | None,
    structure: Structure,
    *,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
) -> list[Place]:
    """The places that names mean on a model, one a layer.

    A wildcard means the layers that have what is named. Raises UnknownLayerError,
    UnknownComponentError, each naming what exists, and InvalidRequestError for names or sides that
    disagree.
    """
    sides = _Sides(capture_input, capture_output)
    canonical, name = _component(component)
    if canonical in WHOLE_MODEL or (canonical is None and _whole_named(name or layer_name)):
        return [_whole_place(layer_name, canonical, name, structure, sides)]
    layers, is_block, inside = _layers(layer_name, name, structure)
    if canonical is None and inside is None and not is_block:
        raise UnknownComponentError(f"{layer_name!r} names no component; {_known()}")
    found: list[Place] = []
    absent: Exception | None = None
    for layer in layers or range(structure.layers):
        try:
            found.append(_place(layer, canonical, inside, structure, sides))
        except UnknownComponentError as error:
            if layers is not None:
                raise
            absent = absent or error
    if not found:
        raise absent or UnknownLayerError(f"{layer_name!r}: the model has no layers")
    return found


def component_named(name: C | str) -> C:
    """The component whose output a name without a layer means: its own or TransformerLens's.

    Raises UnknownComponentError, with what exists, also for the name of an input.
    """
    row = BY_NAME.get(name)
    if row is not None and not row.is_input:
        return row.component
    try:
        return C(name)
    except ValueError:
        raise UnknownComponentError(f"unknown component {name!r}; {_known()}") from None


def check_heads(heads: Sequence[int] | None, place: Place, structure: Structure) -> None:
    """Raise UnknownHeadError for a head that a place does not have."""
    if heads is None:
        return
    if place.component not in PER_HEAD:
        raise UnknownHeadError(f"{place.component} has no heads to select")
    count = structure.heads(place.layer, place.component)
    for head in heads:
        if not 0 <= head < count:
            raise UnknownHeadError(
                f"head {head} of {place.component}: there are heads 0 to {count - 1}"
            )


def _component(given: C | str | None) -> tuple[C | None, str | None]:
    """A component by its own name, or another name of something."""
    try:
        return (None if given is None else C(given)), None
    except ValueError:
        return None, str(given)


def _known() -> str:
    return f"there are {', '.join(C)}, and TransformerLens's {', '.join(BY_NAME)}"


# --- what a model has once -------------------------------------------------------------------


def _whole_named(name: str) -> C | None:
    """The component of the whole model that a name means by itself."""
    if name in BY_NAME and BY_NAME[name].component in WHOLE_MODEL:
        return BY_NAME[name].component
    if HOOK_NAME.fullmatch(name) or _IN_LAYERS.fullmatch(name):
        return None
    means = (c for c, pattern in _WHOLE_MODEL.items() if name == c or pattern.fullmatch(name))
    return next(means, None)


def _whole_place(
    layer_name: str, component: C | None, name: str | None, structure: Structure, sides: _Sides
) -> Place:
    meant = _whole_named(layer_name)
    component = component or _whole_named(name or layer_name)
    if component is None:
        raise UnknownComponentError(f"{name or layer_name!r} names no component")
    if layer_name != "*" and meant is not component:
        raise UnknownLayerError(
            f"{component} belongs to the whole model, not to {layer_name!r}; "
            f"name it {component.value!r}"
        )
    for each in (layer_name, name):
        if each in BY_NAME:
            sides.check_only(False, each)
    return _checked(None, component, sides.asked, structure)


# --- what each layer has ---------------------------------------------------------------------


def _layers(
    layer_name: str, name: str | None, structure: Structure
) -> tuple[list[int] | None, bool, str | None]:
    """The layers (None: all that have it), whether a block is named, and what inside of it."""
    match = _matched(layer_name, structure)
    layers, inside = _numbers(match, layer_name, structure), match["inside"]
    if name is None:
        return layers, bool(match["stem"]), inside
    own = _IN_LAYERS.fullmatch(name)
    if own is not None:
        if _numbers(own, name, structure) != layers:
            raise InvalidRequestError(f"{layer_name!r} and {name!r} name different layers")
        name = own["inside"]
    if inside not in (None, name):
        raise InvalidRequestError(f"{layer_name!r} names another place than {name!r}")
    return layers, True, name


def _matched(name: str, structure: Structure) -> re.Match[str]:
    match = _IN_LAYERS.fullmatch(name)
    if match is None:
        raise UnknownLayerError(
            f"{name!r} names no layer; the model has layers 0 to {structure.layers - 1}"
        )
    return match


def _numbers(match: re.Match[str], name: str, structure: Structure) -> list[int] | None:
    if match["first"] is None:
        return None
    first = int(match["first"])
    last = int(match["last"] or first)
    if not first <= last < structure.layers:
        exists = f"the model has layers 0 to {structure.layers - 1}"
        raise UnknownLayerError(f"{name!r} is not in the model; {exists}")
    return list(range(first, last + 1))


def _place(
    layer: int, component: C | None, inside: str | None, structure: Structure, sides: _Sides
) -> Place:
    if inside in BY_NAME and BY_NAME[inside].component not in WHOLE_MODEL:
        row = BY_NAME[inside]
        if component not in (None, row.component):
            raise InvalidRequestError(f"{inside!r} is {row.component}, not {component}")
        sides.check_only(row.is_input, inside)
        return _checked(layer, row.component, (row.is_input,), structure)
    if inside is not None and HOOK_NAME.fullmatch(inside):
        raise UnknownComponentError(f"{inside!r} is no hook point here; {_known()}")
    if component is None:
        return _module_place(layer, inside, structure, sides)
    if inside is not None:
        _check_module(layer, component, inside, structure, sides)
    return _checked(layer, component, sides.asked, structure)


def _module_place(layer: int, inside: str | None, structure: Structure, sides: _Sides) -> Place:
    """The place of what a module of a layer, or the layer itself, takes or returns."""
    points = [(_module_point(layer, inside, side, structure), side) for side in sides.asked]
    components = [point.component for point, _ in points]
    if len(set(components)) > 1:
        raise InvalidRequestError(
            f"the input of {inside!r} is {components[0]}, and its output {components[1]}: "
            "ask for each by a hook of its own"
        )
    return _checked(layer, components[0], [point.is_input for point, _ in points], structure)


def _module_point(layer: int, inside: str | None, is_input: bool, structure: Structure) -> Point:
    if inside is None:
        return Point(layer, C.RESIDUAL, is_input)
    side, other = ("input", "output") if is_input else ("output", "input")
    modules = _modules(layer, structure)
    if inside not in modules:
        usual = value_of_usual_module(inside, is_input)
        if usual is None:
            raise UnknownComponentError(
                f"layer {layer} has no module {inside!r}; it has {', '.join(sorted(modules))}; "
                f"of other names {_known()}"
            )
        return Point(layer, *usual)
    point = _point_at(layer, modules[inside], is_input, structure)
    if point is None:
        reason = f"the {side} of {inside!r} is no hook point on this model"
        opposite = _point_at(layer, modules[inside], not is_input, structure)
        if opposite is not None:
            reason += f", but its {other} is: {opposite.component}"
        raise UnknownComponentError(f"{reason}; {_known()}")
    return point


def _point_at(layer: int, module: nn.Module, is_input: bool, structure: Structure) -> Point | None:
    """What a module takes, or returns; where it is two points, the one that the module is for."""
    points = structure.module_points.get((id(module), is_input), ())
    here = [point for point in points if point.layer == layer and point in structure.shapes]
    return here[0] if here else None


def _modules(layer: int, structure: Structure) -> dict[str, nn.Module]:
    """The modules in a layer by their paths in it."""
    block = structure.model
    for word in structure.layer_names[layer].split("."):
        block = block[int(word)] if isinstance(block, list) else getattr(block, word)
    return {path: module for path, module in block.named_modules() if path}


def _check_module(
    layer: int, component: C, inside: str, structure: Structure, sides: _Sides
) -> None:
    """Raise where a module path does not go with the component that is named beside it."""
    modules = _modules(layer, structure)
    if inside not in modules and value_of_usual_module(inside, False) is None:
        raise UnknownLayerError(
            f"layer {layer} has no module {inside!r}; it has {', '.join(sorted(modules))}"
        )
    if in_other_part(inside, component):
        raise InvalidRequestError(f"{component} is not in {inside!r}")
    if sides.capture_input and inside in modules:
        point = _point_at(layer, modules[inside], True, structure)
        if point == Point(layer, component):
            raise InvalidRequestError(
                f"{component} is itself the input of {inside!r}: name either the module, with "
                f"capture_input, or {component}, with capture_output"
            )


def _checked(layer: int | None, component: C, sides: Sequence[bool], structure: Structure) -> Place:
    """A place whose points the model has."""
    reason = structure.absent.get((layer, component))
    where = "the model" if layer is None else f"layer {layer}"
    if reason is not None:
        have = ", ".join(structure.components)
        raise UnknownComponentError(f"{where} has no {component}: {reason}; the model has {have}")
    return Place(layer, component, tuple(_points(layer, component, sides, structure, where)))


def _points(
    layer: int | None, component: C, sides: Sequence[bool], structure: Structure, where: str
) -> Iterator[tuple[Point, bool]]:
    for is_input in sides:
        point = structure.input_of(layer, component) if is_input else Point(layer, component)
        if point is None:
            raise UnknownComponentError(f"{component} of {where} has no one input")
        yield point, is_input
