"""Where the components are in a model, by rules over names and a trace of one pass."""

from dataclasses import dataclass, field

import mlx.core as mx
import mlx.nn as nn

from engine.components import WHOLE_MODEL, ComponentType
from engine.points import Point
from engine.taps import Role, WholeModel, tapped

C = ComponentType
ATTENTION_NAMES = ("self_attn", "attn", "attention", "mixer")
MLP_NAMES = ("mlp", "feed_forward", "ffn", "block_sparse_moe")
NORM_NAMES = ("input_layernorm", "ln_1", "attention_norm", "norm")
FINAL_NORM_NAMES = ("norm", "ln_f", "final_norm", "final_layernorm")


@dataclass
class Structure:
    """A model's hook points: which exist, their shapes, and why the others do not.

    `shapes` are those of one sequence of `PROBE` tokens; `absent` maps a layer and a component
    to the reason.
    """

    model: nn.Module
    layer_names: list[str]
    roles: list[tuple[nn.Module, Role]]
    shapes: dict[Point, tuple[int, ...]] = field(default_factory=dict)
    absent: dict[tuple[int | None, ComponentType], str] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        return len(self.layer_names)

    @property
    def components(self) -> tuple[ComponentType, ...]:
        """The components that at least one layer has."""
        present = {point.component for point in self.shapes}
        return tuple(component for component in ComponentType if component in present)

    def heads(self, component: ComponentType, layer: int | None) -> int:
        return self.shapes[Point(layer, component)][1]


PROBE = 3


def resolve(model: nn.Module) -> Structure:
    """Find a model's hook points; nothing is evaluated, so a large model costs no more."""
    paths = {id(module): path for path, module in model.named_modules()}
    blocks = list(model.layers)
    roles: list[tuple[nn.Module, Role]] = [(model, WholeModel(outputs=[Point(None, C.LOGITS)]))]
    inner = model
    while not any(isinstance(getattr(inner, name, None), nn.Module) for name in FINAL_NORM_NAMES):
        inner = next(
            m for m in inner.children().values() if isinstance(m, nn.Module) and _has(m, blocks[0])
        )
    final_norm = Role([Point(None, C.FINAL_NORM, True)], [Point(None, C.FINAL_NORM)])
    roles.append((_child(inner, FINAL_NORM_NAMES), final_norm))
    for layer, block in enumerate(blocks):

        def role(component, layer=layer, **more):
            return Role([Point(layer, component, True)], [Point(layer, component)], **more)

        whole = role(C.RESIDUAL)
        if layer == 0:
            whole.inputs += (Point(None, C.EMBEDDING),)
        roles += [
            (block, whole),
            (_child(block, ATTENTION_NAMES), role(C.ATTENTION, attention_of=layer)),
            (_child(block, MLP_NAMES), role(C.MLP)),
            (_child(block, NORM_NAMES), role(C.LAYERNORM)),
        ]
    structure = Structure(model, [paths[id(block)] for block in blocks], roles)
    _probe(structure)
    return structure


def _child(module, names):
    return next(module[name] for name in names if isinstance(module.get(name), nn.Module))


def _has(module, wanted):
    return any(m is wanted for m in module.modules())


class _Nothing:
    def begin_pass(self, span):
        pass

    def end_pass(self):
        pass


def _probe(structure: Structure) -> None:
    def shape_of(point):
        def visit(value, span):
            structure.shapes[point] = tuple(value.shape)
            return value

        return visit

    points = [
        Point(layer, component, is_input)
        for component in ComponentType
        for layer in ([None] if component in WHOLE_MODEL else range(structure.layers))
        for is_input in (False, True)
    ]
    with tapped(structure.roles, {point: shape_of(point) for point in points}, _Nothing()):
        structure.model(mx.zeros((1, PROBE), dtype=mx.int32))
    for point in points:
        if not point.is_input and point not in structure.shapes:
            structure.absent[point.layer, point.component] = "the model has no such value"
