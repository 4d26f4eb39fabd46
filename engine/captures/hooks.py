"""Hook specifications, and what they resolve to on a model: one hook a layer, points, heads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.captures.records import CapturedActivation
from engine.components import ComponentType
from engine.errors import DuplicateHookError, InvalidRequestError
from engine.structure.places import check_heads, places_named
from engine.structure.resolver import Structure
from engine.taps.points import Point
from engine.taps.position_sets import Positions
from engine.taps.shares import Share

DTYPES = ("float32", "float16", "bfloat16")

Encode = Callable[[CapturedActivation], CapturedActivation]
"""Makes the record that is wanted of the one that was captured."""


class HookSpec(Protocol):
    """What to capture: a component's value, or what is made of one."""

    def resolved(self, structure: Structure) -> list["ResolvedHook"]: ...

    def default_id(self, resolved: Sequence["ResolvedHook"]) -> str:
        """The id of all its hooks together, where it is given none."""
        ...

    @property
    def hook_id(self) -> str | None: ...


@dataclass(frozen=True)
class ActivationHookSpec:
    """What to capture, and where.

    `layer_name` is any spelling: ``5``, ``model.layers.5``, ``transformer.h.5``, ``blocks.5``,
    ``*``, ``0-11``, ``transformer.wte``; a wildcard or a range gives one hook a layer. Where it
    names a value by itself, the component may be left out: ``blocks.5.attn.hook_z`` in
    TransformerLens's names, ``model.layers.5.mlp.down_proj`` with `capture_input` as a module path.
    The component may be such a name without its layer, too. Whatever the name, the value has the
    axes of its component. The output is captured unless the name or `capture_output` says
    otherwise.
    `positions` are 0-based in the whole sequence, negative ones count from the prompt's end; or
    they are ``prompt``, ``generated`` or ``all`` (None). `exclude_special_tokens` leaves out the
    positions of tokens that mark a beginning, an end or a turn of a chat, and are no text.
    `dtype` is ``float32``, ``float16`` or ``bfloat16``.
    """

    layer_name: str
    component: ComponentType | str | None = None
    hook_id: str | None = None
    capture_input: bool | None = None
    capture_output: bool | None = None
    positions: Positions = None
    heads: tuple[int, ...] | None = None
    dtype: str = "float32"
    exclude_special_tokens: bool = False

    def resolved(self, structure: Structure) -> list["ResolvedHook"]:
        """A hook a layer. Raises what `resolve_hooks` raises."""
        if self.dtype not in DTYPES:
            raise InvalidRequestError(f"dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        places = places_named(
            self.layer_name,
            self.component,
            structure,
            capture_input=self.capture_input,
            capture_output=self.capture_output,
        )
        for place in places:
            check_heads(self.heads, place, structure)
        several = self.hook_id is not None and len(places) > 1
        return [
            ResolvedHook(
                hook_id=f"{self.hook_id}_layer_{place.layer}"
                if several
                else self.hook_id or Point(place.layer, place.component).default_id,
                layer_name=self.layer_name
                if place.layer is None
                else structure.layer_names[place.layer],
                layer=place.layer,
                component=place.component,
                points=place.points,
                positions=self.positions,
                heads=self.heads,
                dtype=self.dtype,
                exclude_special_tokens=self.exclude_special_tokens,
                shares=structure.shares,
            )
            for place in places
        ]

    def default_id(self, resolved: Sequence["ResolvedHook"]) -> str:
        """That of its only layer, or of several layers a name like ``0-11_residual``."""
        if len(resolved) == 1:
            return resolved[0].hook_id
        return f"{self.layer_name}_{resolved[0].component}"


@dataclass(frozen=True)
class ResolvedHook:
    """One hook on one layer of one model: its points, each with whether it is the input.

    `encode` makes its records of those of the value, None: they are the value's. `shares` are those
    of this rank in the model's values.
    """

    hook_id: str
    layer_name: str
    layer: int | None
    component: ComponentType
    points: tuple[tuple[Point, bool], ...]
    positions: Positions
    heads: tuple[int, ...] | None
    dtype: str
    exclude_special_tokens: bool
    encode: Encode | None = None
    shares: Mapping[Point, Share] = field(default_factory=dict)


def resolve_hooks(specs: Sequence[HookSpec], structure: Structure) -> tuple[ResolvedHook, ...]:
    """Resolve specifications against a model.

    Raises UnknownLayerError, UnknownComponentError, UnknownHeadError, DuplicateHookError, each
    naming what exists, and InvalidRequestError for names or sides that disagree.
    """
    hooks = tuple(hook for spec in specs for hook in spec.resolved(structure))
    check_distinct(hooks)
    return hooks


def check_distinct(hooks: Sequence[ResolvedHook]) -> None:
    """Raise DuplicateHookError if two hooks have one id."""
    seen: set[str] = set()
    for hook in hooks:
        if hook.hook_id in seen:
            raise DuplicateHookError(f"two hooks have the id {hook.hook_id!r}")
        seen.add(hook.hook_id)
