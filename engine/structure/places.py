"""Where a component is asked for, by any of its names: the places of a model that this means."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from engine.components import PER_HEAD, WHOLE_MODEL
from engine.components import ComponentType as C
from engine.errors import UnknownComponentError, UnknownHeadError, UnknownLayerError
from engine.names import BLOCK, BY_NAME, NOT_CAPTURED
from engine.structure.resolver import Structure
from engine.taps.points import Point

_LAYERS = re.compile(
    r"(?:[A-Za-z_]\w*\.)*(?P<layers>(?P<first>\d+)(?:-(?P<last>\d+))?|\*)"
    r"(?:\.(?P<module>[A-Za-z_][\w.]*))?"
)
_FIELD = re.compile(rf"(?:{BLOCK}\.(?P<layers>\d+(?:-\d+)?|\*)\.)?(?P<name>(?:\w+\.)?hook_\w+)")

_WHOLE_MODEL_NAMES = {
    C.EMBEDDING: re.compile(r"(?:\w+\.)*(?:wte|\w*embed\w*)"),
    C.FINAL_NORM: re.compile(r"(?:\w+\.)*(?:ln_f|\w*norm\w*)"),
    C.LOGITS: re.compile(r"(?:\w+\.)*(?:lm_head|logits|\w*unembed\w*|output)"),
}


class Place(NamedTuple):
    """A component in a layer (None: of the whole model); `is_input` is None where the name leaves
    open whether what goes into it or what comes out is meant."""

    layer: int | None
    component: C
    is_input: bool | None = None


def places(
    layer_name: str, component: C | str | None, structure: Structure, of_input: bool = False
) -> list[Place]:
    """The places that a layer and a component mean.

    The layer is ``5``, ``0-11``, ``*`` or a path to it in any library's spelling; a component is
    one of ours, or the field's (``attn.hook_z``). A name of the field with its layer
    (``blocks.5.attn.hook_z``) needs no component, nor does a module's path, which means what comes
    out of the module, or with `of_input` what goes into it. Raises UnknownLayerError, and
    UnknownComponentError where a layer lacks the component; each names what exists.
    """
    found = _places(layer_name, component, structure, of_input)
    for place in found:
        _check_present(place, structure)
    return found


def _places(
    layer_name: str, component: C | str | None, structure: Structure, of_input: bool
) -> list[Place]:
    found = _field_name(layer_name)
    if found is not None:
        layers, name = found
        if component is not None:
            _check_agreement(layer_name, name, component)
        return _of_field_name(layer_name, layers, name, structure)
    if component is None:
        return _of_module(layer_name, of_input, structure)
    component_named(component)
    named = BY_NAME.get(component)
    if named is not None:
        return [
            Place(layer, named.component, named.is_input)
            for layer in layers_named(layer_name, named.component, structure)
        ]
    known = component_named(component)
    return [Place(layer, known) for layer in layers_named(layer_name, known, structure)]


def is_field_name(layer_name: str, component: C | str | None) -> bool:
    """Whether one of them is a name of the field, which says whether it is an input."""
    return component in BY_NAME or _field_name(layer_name) is not None


def component_named(name: C | str) -> C:
    """The component of that name, or an UnknownComponentError that lists them."""
    if name in NOT_CAPTURED:
        raise UnknownComponentError(f"{name!r} is not captured: {NOT_CAPTURED[name]}")
    try:
        return BY_NAME[name].component if name in BY_NAME else C(name)
    except ValueError:
        raise UnknownComponentError(
            f"unknown component {name!r}; there are {', '.join(C)}, and by the field's names "
            f"{', '.join(BY_NAME)}"
        ) from None


def layers_named(name: str, component: C, structure: Structure) -> list[int | None]:
    """The layers that a layer name means; ``[None]`` for a component of the whole model."""
    if component in WHOLE_MODEL:
        if name in ("*", component) or _WHOLE_MODEL_NAMES[component].fullmatch(name):
            return [None]
        raise UnknownLayerError(
            f"{component} belongs to the whole model, not to {name!r}; name it {component.value!r}"
        )
    match = _LAYERS.fullmatch(name)
    exists = f"the model has layers 0 to {structure.layers - 1}"
    if match is None:
        raise UnknownLayerError(f"{name!r} names no layer; {exists}")
    if match["first"] is None:
        present = [n for n in range(structure.layers) if (n, component) not in structure.absent]
        return list(present or range(structure.layers))
    first = _number(match["first"], structure)
    last = _number(match["last"] or match["first"], structure)
    if not first <= last < structure.layers:
        raise UnknownLayerError(f"{name!r} is not in the model; {exists}")
    return list(range(first, last + 1))


def input_point(place: Place, structure: Structure) -> Point:
    """The point of what goes into a place. Raises UnknownComponentError if that is not one."""
    into = structure.input_of(place.layer, place.component)
    if into is None:
        where = "the model" if place.layer is None else f"layer {place.layer}"
        raise UnknownComponentError(f"{place.component} of {where} has no one input")
    return into


def check_heads(heads: Sequence[int], place: Place, structure: Structure) -> None:
    """Raise UnknownHeadError for heads that a place has not."""
    if place.component not in PER_HEAD:
        raise UnknownHeadError(f"{place.component} has no heads to select")
    count = structure.heads(place.layer, place.component)
    for head in heads:
        if not 0 <= head < count:
            raise UnknownHeadError(
                f"head {head} of {place.component}: there are heads 0 to {count - 1}"
            )


def _check_present(place: Place, structure: Structure) -> None:
    absent = structure.absent.get((place.layer, place.component))
    if absent is not None:
        where = "the model" if place.layer is None else f"layer {place.layer}"
        have = ", ".join(structure.components)
        raise UnknownComponentError(
            f"{where} has no {place.component}: {absent}; the model has {have}"
        )


def _number(digits: str, structure: Structure) -> int:
    """A layer's number; one of thousands of digits is just not in the model."""
    return int(digits) if len(digits) < 10 else structure.layers


def _field_name(layer_name: str) -> tuple[str | None, str] | None:
    match = _FIELD.fullmatch(layer_name)
    return match and (match["layers"], match["name"])


def _check_agreement(layer_name: str, name: str, component: C | str) -> None:
    given, named = component_named(component), component_named(name)
    if given is not named or (component in BY_NAME and BY_NAME[component] != BY_NAME[name]):
        raise UnknownComponentError(
            f"{layer_name!r} is the component {named.value!r}, not {str(component)!r}"
        )


def _of_field_name(
    layer_name: str, layers: str | None, name: str, structure: Structure
) -> list[Place]:
    component = component_named(name)
    is_input = BY_NAME[name].is_input
    if component in WHOLE_MODEL:
        if layers is not None:
            raise UnknownLayerError(f"{name!r} is of the whole model: leave out {BLOCK}.{layers}")
        return [Place(None, component, is_input)]
    if layers is None:
        raise UnknownLayerError(f"{layer_name!r} says no layer: write {BLOCK}.0.{name}, …")
    return [Place(n, component, is_input) for n in layers_named(layers, component, structure)]


def _of_module(layer_name: str, of_input: bool, structure: Structure) -> list[Place]:
    """The places at the input or output of a module that is named by its path."""
    match = _LAYERS.fullmatch(layer_name)
    if match is None:
        for component, pattern in _WHOLE_MODEL_NAMES.items():
            if layer_name == component or pattern.fullmatch(layer_name):
                return [Place(None, component, of_input)]
        raise UnknownLayerError(
            f"{layer_name!r} names no layer and no component; give a component, or a module's path"
        )
    layers = layers_named(match["layers"], C.RESIDUAL, structure)
    module = match["module"] or ""
    points = [structure.module_points.get((layer or 0, module, of_input)) for layer in layers]
    found = [Place(*point) for point in points if point is not None]
    if not found:
        side = "what goes into" if of_input else "what comes out of"
        known = ", ".join(_known_modules(layers, of_input, structure)) or "none"
        raise UnknownComponentError(
            f"{layer_name!r}: {side} this module is no component; of a layer's modules it is for "
            f"{known}"
        )
    return found


def _known_modules(layers: Sequence[int | None], of_input: bool, structure: Structure) -> list[str]:
    known = {
        module or "the layer itself": None
        for layer, module, is_input in structure.module_points
        if layer in layers and is_input == of_input
    }
    return list(known)
