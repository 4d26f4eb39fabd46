"""Hook specifications, and what they resolve to on a model: one hook a layer, points, heads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.components import ComponentType
from engine.errors import DuplicateHookError, InvalidRequestError
from engine.names import default_hook_id
from engine.structure.places import (
    Place,
    check_heads,
    input_point,
    is_field_name,
    places,
)
from engine.structure.resolver import Structure
from engine.taps.points import Point

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class ActivationHookSpec:
    """What to capture, and where.

    `layer_name` is any spelling: ``5``, ``model.layers.5``, ``transformer.h.5``, ``blocks.5``,
    ``*``, ``0-11``, ``transformer.wte``; a wildcard or a range gives one hook a layer. `component`
    is a component of this project, or TransformerLens's name (``attn.hook_z``). It may be left out
    where `layer_name` says it all: TransformerLens's whole name (``blocks.5.attn.hook_z``), or the
    path of a module (``model.layers.5.mlp.down_proj``), which means what comes out of the module,
    or with `capture_input` what goes into it. A name of the field says whether it is an input
    itself. Records have the component's own shape, whatever name it was asked for by.
    `positions` are 0-based in the whole sequence, negative ones count from the prompt's end.
    `dtype` is ``float32``, ``float16`` or ``bfloat16``.
    """

    layer_name: str
    component: ComponentType | str | None = None
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
    if spec.dtype not in DTYPES:
        raise InvalidRequestError(f"dtype {spec.dtype!r} is none of {', '.join(DTYPES)}")
    if not (spec.capture_input or spec.capture_output):
        raise InvalidRequestError("a hook captures its input, its output, or both, not neither")
    if is_field_name(spec.layer_name, spec.component) and (
        spec.capture_input or not spec.capture_output
    ):
        raise InvalidRequestError(
            f"{spec.component or spec.layer_name!r} says itself whether it is an input: leave out "
            "capture_input and capture_output"
        )
    found = places(spec.layer_name, spec.component, structure, of_input=spec.capture_input)
    hooks = [_at_place(spec, place, structure) for place in found]
    if spec.hook_id is not None and len(hooks) > 1:
        hooks = [replace(hook, hook_id=f"{spec.hook_id}_layer_{hook.layer}") for hook in hooks]
    return hooks


def _at_place(spec: ActivationHookSpec, place: Place, structure: Structure) -> ResolvedHook:
    layer, component = place.layer, place.component
    if spec.heads is not None:
        check_heads(spec.heads, place, structure)
    return ResolvedHook(
        hook_id=spec.hook_id or default_hook_id(component, layer),
        layer_name=spec.layer_name if layer is None else structure.layer_names[layer],
        layer=layer,
        component=component,
        points=_points(spec, place, structure),
        positions=spec.positions,
        heads=spec.heads,
        dtype=spec.dtype,
    )


def _points(
    spec: ActivationHookSpec, place: Place, structure: Structure
) -> tuple[tuple[Point, bool], ...]:
    """The points of a hook, each with whether it is the input."""
    says_itself = place.is_input is not None
    points = []
    if place.is_input if says_itself else spec.capture_input:
        points.append((input_point(place, structure), True))
    if not place.is_input if says_itself else spec.capture_output:
        points.append((Point(place.layer, place.component), False))
    return tuple(points)
