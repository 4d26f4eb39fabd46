"""Where the components are in a model: one resolver for every architecture.

The names of modules differ from architecture to architecture, and so do norms, gates and
multipliers. What their code does is alike, so it is read off a trace: passes that are built while
every module reports, and never evaluated, so that a large model costs no more than a small one.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import make_prompt_cache

from engine.components import NEURONS, PER_HEAD, WHOLE_MODEL
from engine.components import ComponentType as C
from engine.structure.absence import reason_absent
from engine.structure.layer_map import LayerMap
from engine.structure.modules import ModulePoints, module_points
from engine.structure.neurons import map_neurons
from engine.structure.position_table import check_positions, learned_positions
from engine.structure.stream import is_norm
from engine.structure.trace import PROMPT, Event, Trace, traced
from engine.taps.observation import observed
from engine.taps.points import Point, Visitor, sequence_axis
from engine.taps.roles import ModuleRole, RoleOf, Through, add_point
from engine.taps.shares import Share
from engine.turns import give_way


@dataclass(eq=False)
class Structure:
    """A model's hook points: which exist, their shapes, and why the others do not.

    `shapes` are those of a pass over one sequence of `PROMPT` tokens; `absent` maps a layer
    (None: the whole model) and a component to the reason; `module_points` says which of them the
    modules take and return. `needs_cache` says that the model is another network without a cache:
    it calls other modules, or has values of other shapes. `learned_positions` is the number of
    positions that it has learned embeddings for, None if it has no such table. `shares` are those
    of this rank in values that several ranks have parts of; shapes are of whole values.
    """

    model: nn.Module
    layer_names: list[str]
    roles: list[tuple[nn.Module, ModuleRole]]
    shapes: dict[Point, tuple[int, ...]] = field(default_factory=dict)
    absent: dict[tuple[int | None, C], str] = field(default_factory=dict)
    module_points: ModulePoints = field(default_factory=dict)
    needs_cache: bool = False
    learned_positions: int | None = None
    shares: dict[Point, Share] = field(default_factory=dict)

    def logits(self, tokens: mx.array) -> mx.array:
        """The model's logits for whole sequences ``[batch, seq]``, in one pass, as a generation
        that ran them at once would have them. Raises ContextLengthError past a table of positions.
        """
        self.check_length(tokens.shape[1])
        return self.model(tokens, cache=make_prompt_cache(self.model) if self.needs_cache else None)

    def check_length(self, positions: int) -> None:
        """Raise ContextLengthError for more positions than there are learned embeddings for."""
        check_positions(positions, self.learned_positions)

    @property
    def layers(self) -> int:
        """The number of blocks."""
        return len(self.layer_names)

    @property
    def hidden_size(self) -> int:
        """The width of the residual stream."""
        return self.shapes[Point(None, C.EMBEDDING)][-1]

    @property
    def components(self) -> tuple[C, ...]:
        """The components that at least one layer, or the whole model, has."""
        present = {point.component for point in self.shapes if not point.is_input}
        return tuple(component for component in C if component in present)

    @property
    def absent_layers(self) -> dict[C, list[int]]:
        """The layers that lack a component that others have."""
        present = self.components
        lacking: dict[C, list[int]] = {}
        for layer, component in self.absent:
            if layer is not None and component in present:
                lacking.setdefault(component, []).append(layer)
        return lacking

    def heads(self, layer: int | None, component: C) -> int:
        """How many heads a per-head component has."""
        return self.shapes[Point(layer, component)][1]

    def module_given(self, point: Point) -> nn.Module:
        """The module whose input a hook point is. Raises ValueError if there is not exactly one."""
        (module,) = (module for module, role in self.roles if point in role.inputs)
        return module

    def input_of(self, layer: int | None, component: C) -> Point | None:
        """The point that goes into a component: its own input, or the value it is made of."""
        candidates = [
            Point(layer, component, True),
            *(Point(layer, source, side) for source, side in MADE_OF.get(component, ())),
        ]
        return next((point for point in candidates if point in self.shapes), None)


MADE_OF = {
    C.QUERY: [(C.QUERY_PRE_ROPE, False), (C.ATTENTION, True)],
    C.KEY: [(C.KEY_PRE_ROPE, False), (C.ATTENTION, True)],
    C.QUERY_PRE_ROPE: [(C.ATTENTION, True)],
    C.KEY_PRE_ROPE: [(C.ATTENTION, True)],
    C.VALUE: [(C.ATTENTION, True)],
    C.ATTENTION_PATTERN: [(C.ATTENTION_SCORES, False)],
    C.ROUTER: [(C.MLP, True)],
    C.ROUTER_CHOICE: [(C.MLP, True)],
    C.EXPERT_OUTPUT: [(C.MLP, True)],
    C.MLP_GATE: [(C.MLP, True)],
    C.MLP_HIDDEN: [(C.MLP, True)],
}


def resolve(model: nn.Module) -> Structure:
    """Find a model's hook points."""
    traces = traced(model)
    blocks = _blocks(model, traces[0])
    roles: dict[int, tuple[nn.Module, ModuleRole]] = {}

    def role_of(module: nn.Module) -> ModuleRole:
        return roles.setdefault(id(module), (module, ModuleRole()))[1]

    for trace in traces:
        entry = _entry(blocks, trace)
        for layer, block in enumerate(blocks):
            calls = trace.calls(block)
            for call in calls:
                LayerMap(layer, call, entry, trace, role_of).apply()
            if not calls:
                map_neurons(layer, trace.of_parts(block), role_of)
            give_way()
        _map_ends(model, blocks, entry, trace, role_of)
    paths = {id(module): path for path, module in model.named_modules()}
    structure = Structure(model, [paths[id(block)] for block in blocks], list(roles.values()))
    with_cache, without = (_shapes(structure, cached) for cached in (True, False))
    structure.needs_cache = with_cache != without or traces[0].modules != traces[2].modules
    structure.shapes = with_cache if structure.needs_cache else without
    structure.module_points = module_points(roles, blocks, traces[0])
    structure.learned_positions = learned_positions(traces)
    for where, component in _all(structure):
        if Point(where, component) not in structure.shapes:
            present = {point.component for point in structure.shapes if point.layer == where}
            reason = reason_absent(component, where, present, blocks, traces[0])
            structure.absent[where, component] = reason
    return structure


def _blocks(model: nn.Module, trace: Trace) -> list[nn.Module]:
    """The model's `layers`, or else the longest list of modules that a pass runs through."""
    layers = [m for m in getattr(model, "layers", None) or () if isinstance(m, nn.Module)]
    if layers:
        return layers
    ran = {id(event.module) for event in trace.events if event.module is not None}
    lists = [v for m in model.modules() for v in m.values() if isinstance(v, list)]
    return max(([m for m in each if id(m) in ran] for each in lists), key=len)


def _entry(blocks: list[nn.Module], trace: Trace) -> int:
    """Which argument of a block is what the block before it returned."""
    for before, block in pairwise(blocks):
        for first, then in zip(trace.calls(before), trace.calls(block), strict=False):
            for index, argument in enumerate(then.args):
                if first.answers(argument):
                    return index
    return 0


def _map_ends(
    model: nn.Module, blocks: list[nn.Module], entry: int, trace: Trace, role_of: RoleOf
) -> None:
    """The points before the first block and after the last."""
    role_of(model).outputs[:] = [Point(None, C.LOGITS)]
    embedding = next(e for e in trace.events if e.module is not None and _embeds(e))
    add_point(role_of(embedding.called).inputs, Point(None, C.EMBEDDING, True))
    calls = [call for block in blocks for call in trace.calls(block)]
    if calls and calls[0].argument(entry).ndim == 3:
        into, embedded = role_of(calls[0].called).inputs, Point(None, C.EMBEDDING)
        into[:] = [embedded, *(point for point in into if point != embedded)]
    else:
        add_point(role_of(embedding.called).outputs, Point(None, C.EMBEDDING))
    norm = _final_norm(trace, calls)
    if norm is None:
        return
    entering, leaving = Point(None, C.FINAL_NORM, True), Point(None, C.FINAL_NORM)
    if norm.module is None:
        operations = role_of(norm.owner).operations
        operations[norm.operation] = Through({0: entering}, leaving)
    else:
        add_point(role_of(norm.called).inputs, entering)
        add_point(role_of(norm.called).outputs, leaving)


def _embeds(event: Event) -> bool:
    return (
        len(event.inputs) > 0
        and mx.issubdtype(event.inputs[0].dtype, mx.integer)
        and len(event.outputs) == 1
        and event.outputs[0].ndim == event.inputs[0].ndim + 1
        and not event.called.children()
    )


def _final_norm(trace: Trace, calls: list[Event]) -> Event | None:
    """The norm that takes what the last block returned, or else the last norm of the pass."""
    norms = [e for e in trace.events if is_norm(e) and e.outputs]
    if calls:
        norms = [norm for norm in norms if norm.start > calls[-1].end]
        taking = [norm for norm in norms if norm.takes(calls[-1].outputs[0])]
        norms = taking[:1] or norms
    return norms[-1] if norms else None


def _all(structure: Structure) -> list[tuple[int | None, C]]:
    layers = range(structure.layers)
    return [(n, c) for c in C for n in ([None] if c in WHOLE_MODEL else layers)]


def _shapes(structure: Structure, cached: bool) -> dict[Point, tuple[int, ...]]:
    """The shape at each point, from one more pass that is never evaluated."""
    shapes: dict[Point, tuple[int, ...]] = {}

    def visitor(point: Point) -> Visitor:
        def visit(value: mx.array, span) -> mx.array:
            shapes[point] = tuple(value.shape)
            return value

        return visit

    give_way()
    points = {point for _, role in structure.roles for point in role.points}
    cache = make_prompt_cache(structure.model) if cached else None
    with observed(structure, {point: visitor(point) for point in points}):
        structure.model(mx.zeros((1, PROMPT), dtype=mx.int32), cache=cache)
    return {point: shape for point, shape in shapes.items() if _is_canonical(point, shape)}


def _is_canonical(point: Point, shape: tuple[int, ...]) -> bool:
    """Whether a value has one sequence, its positions where they belong, and no other axes."""
    axes = {4} if point.component in {*PER_HEAD, C.EXPERT_OUTPUT} and not point.is_input else {3}
    if point.component in NEURONS:
        axes = {3, 4}
    if point == Point(None, C.EMBEDDING, True):
        axes = {2}
    return len(shape) in axes and shape[0] == 1 and shape[sequence_axis(point)] == PROMPT
