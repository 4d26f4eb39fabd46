"""The points that files name: hook names of TransformerLens, and module paths with a side."""

import re

from engine.components import WHOLE_MODEL
from engine.components import ComponentType as C
from engine.errors import FeatureSetError
from engine.field_names import BY_NAME
from engine.structure.parts import value_of_usual_module
from engine.taps.points import Point

_HOOK = re.compile(r"blocks\.(\d+)\.(.+)")
_MODULE = re.compile(
    r"(?:\w+\.)*?(?:layers|h|blocks)\.(\d+)(?:\.(?P<inside>.+?))?(?:\.(?P<side>input|output))?"
)
_NORMALIZED = {
    "ln1.hook_normalized": (C.LAYERNORM, False),
    "ln2.hook_normalized": (C.MLP, True),
}
_NORMS = {
    "pre_feedforward_layernorm": (C.MLP, True),
    "post_feedforward_layernorm": (C.MLP, False),
}
"""Norms of modules by what they return: before the MLP, and after it where the result is added."""


def point_of_hook(name: str) -> tuple[Point, bool]:
    """The point that a hook name of TransformerLens means, and whether it is the value before the
    norm's weight. Raises FeatureSetError for a name that is none here."""
    match = _HOOK.fullmatch(name)
    if match is None:
        row = BY_NAME.get(name)
        if row is None or row.component not in WHOLE_MODEL:
            raise _unknown(name)
        return Point(None, row.component), False
    layer, inside = int(match[1]), match[2]
    if inside in _NORMALIZED:
        return Point(layer, *_NORMALIZED[inside]), True
    row = BY_NAME.get(inside)
    if row is None or row.component in WHOLE_MODEL:
        raise _unknown(name)
    return Point(layer, row.component, row.is_input), False


def hook_of_point(point: Point, before_norm_weight: bool = False) -> str:
    """The hook name that a file has for a point. Raises FeatureSetError where there is none."""
    names = (
        _NORMALIZED
        if before_norm_weight
        else {name: (row.component, row.is_input) for name, row in BY_NAME.items()}
    )
    for name, value in names.items():
        if value == (point.component, point.is_input):
            return name if point.layer is None else f"blocks.{point.layer}.{name}"
    side = "input of " if point.is_input else ""
    raise FeatureSetError(f"TransformerLens has no name for the {side}{point.component}")


def point_of_module(path: str, is_input: bool = False) -> Point:
    """The point that a module path means, ``layers.5.mlp`` or ``model.layers.5.output``; the side
    that the path ends with counts more than `is_input`. Raises FeatureSetError."""
    match = _MODULE.fullmatch(path)
    if match is None:
        if path.split(".")[-1] in ("embed_tokens", "wte", "embed_in"):
            return Point(None, C.EMBEDDING)
        raise _unknown(path)
    layer, inside = int(match[1]), match["inside"]
    if match["side"]:
        is_input = match["side"] == "input"
    if inside is None:
        return Point(layer, C.RESIDUAL, is_input)
    if inside in _NORMS and not is_input:
        return Point(layer, *_NORMS[inside])
    value = value_of_usual_module(inside, is_input)
    if value is None:
        raise _unknown(path)
    return Point(layer, *value)


def _unknown(name: str) -> FeatureSetError:
    known = ", ".join((*BY_NAME, *_NORMALIZED))
    return FeatureSetError(
        f"{name!r} is no hook point here; there are module paths such as layers.5.mlp, and of "
        f"TransformerLens's names, with blocks.5. before those of a layer: {known}"
    )
