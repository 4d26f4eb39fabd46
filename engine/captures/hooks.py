"""Hook specifications, and what they resolve to on a model: one hook a layer, points, heads."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.components import PER_HEAD, WHOLE_MODEL, ComponentType
from engine.errors import (
    DuplicateHookError,
    InvalidRequestError,
    UnknownComponentError,
    UnknownHeadError,
    UnknownLayerError,
)
from engine.structure.resolver import Structure
from engine.taps.points import Point

DTYPES = ("float32", "float16", "bfloat16")

_LAYERS = re.compile(
    r"(?:[A-Za-z_]\w*\.)*(?:(?P<first>\d+)(?:-(?P<last>\d+))?|\*)(?:\.[A-Za-z_][\w.]*)?"
)

_WHOLE_MODEL_NAMES = {
    ComponentType.EMBEDDING: re.compile(r"(?:\w+\.)*(?:wte|\w*embed\w*)"),
    ComponentType.FINAL_NORM: re.compile(r"(?:\w+\.)*(?:ln_f|\w*norm\w*)"),
    ComponentType.LOGITS: re.compile(r"(?:\w+\.)*(?:lm_head|logits|\w*unembed\w*|output)"),
}


@dataclass(frozen=True)
class ActivationHookSpec:
    """What to capture, and where.

    `layer_name` is any spelling: ``5``, ``model.layers.5``, ``transformer.h.5``, ``blocks.5``,
    ``*``, ``0-11``, ``transformer.wte``; a wildcard or a range gives one hook a layer.
    `positions` are 0-based in the whole sequence, negative ones count from the prompt's end.
    `dtype` is ``float32``, ``float16`` or ``bfloat16``.
    """

    layer_name: str
    component: ComponentType | str
    hook_id: str | None = None
    capture_input: bool = False
    capture_output: bool = True
    positions: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    dtype: str = "float32"


@dataclass(frozen=True)
class ResolvedHook:
    """One hook on one layer of one model: its points, each with whether it is the input."""

    hook_id: str
    layer_name: str
    layer: int | None
    component: ComponentType
    points: tuple[tuple[Point, bool], ...]
    positions: tuple[int, ...] | None
    heads: tuple[int, ...] | None
    dtype: str


def resolve_hooks(
    specs: Sequence[ActivationHookSpec], structure: Structure
) -> tuple[ResolvedHook, ...]:
    """Resolve specifications against a model.

    Raises UnknownLayerError, UnknownComponentError, UnknownHeadError, DuplicateHookError, each
    naming what exists.
    """
    hooks = tuple(hook for spec in specs for hook in _resolve(spec, structure))
    check_distinct(hooks)
    return hooks


def check_distinct(hooks: Sequence[ResolvedHook]) -> None:
    """Raise DuplicateHookError if two hooks have one id."""
    seen: set[str] = set()
    for hook in hooks:
        if hook.hook_id in seen:
            raise DuplicateHookError(f"two hooks have the id {hook.hook_id!r}")
        seen.add(hook.hook_id)


def _resolve(spec: ActivationHookSpec, structure: Structure) -> list[ResolvedHook]:
    component = component_named(spec.component)
    if spec.dtype not in DTYPES:
        raise InvalidRequestError(f"dtype {spec.dtype!r} is none of {', '.join(DTYPES)}")
    if not (spec.capture_input or spec.capture_output):
        raise InvalidRequestError("a hook captures its input, its output, or both, not neither")
    layers = layers_named(spec.layer_name, component, structure)
    hooks = [_on_layer(spec, component, layer, structure) for layer in layers]
    if spec.hook_id is not None and len(hooks) > 1:
        hooks = [replace(hook, hook_id=f"{spec.hook_id}_layer_{hook.layer}") for hook in hooks]
    return hooks


def component_named(name: ComponentType | str) -> ComponentType:
    """The component of that name, or an UnknownComponentError that lists them."""
    try:
        return ComponentType(name)
    except ValueError:
        known = ", ".join(ComponentType)
        raise UnknownComponentError(f"unknown component {name!r}; there are {known}") from None


def layers_named(name: str, component: ComponentType, structure: Structure) -> list[int | None]:
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
        return present or list(range(structure.layers))
    first = int(match["first"])
    last = int(match["last"] or first)
    if not first <= last < structure.layers:
        raise UnknownLayerError(f"{name!r} is not in the model; {exists}")
    return list(range(first, last + 1))


def _on_layer(
    spec: ActivationHookSpec, component: ComponentType, layer: int | None, structure: Structure
) -> ResolvedHook:
    absent = structure.absent.get((layer, component))
    where = "the model" if layer is None else f"layer {layer}"
    if absent is not None:
        have = ", ".join(structure.components)
        raise UnknownComponentError(f"{where} has no {component}: {absent}; the model has {have}")
    points = []
    if spec.capture_input:
        into = structure.input_of(layer, component)
        if into is None:
            raise UnknownComponentError(f"{component} of {where} has no one input")
        points.append((into, True))
    if spec.capture_output:
        points.append((Point(layer, component), False))
    if spec.heads is not None:
        _check_heads(spec.heads, component, layer, structure)
    default = f"{component}_output" if layer is None else f"layer_{layer}_{component}"
    return ResolvedHook(
        hook_id=spec.hook_id or default,
        layer_name=spec.layer_name if layer is None else structure.layer_names[layer],
        layer=layer,
        component=component,
        points=tuple(points),
        positions=spec.positions,
        heads=spec.heads,
        dtype=spec.dtype,
    )


def _check_heads(
    heads: tuple[int, ...], component: ComponentType, layer: int | None, structure: Structure
) -> None:
    if component not in PER_HEAD:
        raise UnknownHeadError(f"{component} has no heads to select")
    count = structure.heads(layer, component)
    for head in heads:
        if not 0 <= head < count:
            raise UnknownHeadError(f"head {head} of {component}: there are heads 0 to {count - 1}")
