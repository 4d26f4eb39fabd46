"""What a model has to be for its edges to be told apart: found once for each model, by trial.

A block adds what its attention and its MLP write to the residual stream, and attention reads the
stream by its queries, keys and values alone. That is seen in passes of a few tokens with other
values put in, not read off the architecture's name; a model that is otherwise is refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import mlx.core as mx
import numpy as np

from engine.analysis.edges.blocks import Blocks, Values
from engine.analysis.edges.graph import Graph
from engine.components import ComponentType as C
from engine.errors import UnsupportedOperationError
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.taps.points import Point

EMBEDDING = Point(None, C.EMBEDDING)
NEEDED = (C.RESIDUAL, C.QUERY, C.KEY, C.VALUE, C.HEAD_OUTPUT, C.ATTENTION, C.MLP)
READS = (C.QUERY, C.KEY, C.VALUE)
TRIED = 8
"""Tokens of the passes that are tried."""
SAME = {mx.float32: 1e-4, mx.float16: 2e-2, mx.bfloat16: 1e-1}
"""How far values may be apart that are the same but for rounding, in shares of the largest."""


@dataclass(frozen=True)
class EdgeModel:
    """The graph of a model, and how its blocks calculate.

    `linear` says of each layer whether what a head writes is independent of what the other heads
    do: it is not where a norm comes behind the output projection.
    """

    sequential: tuple[bool, ...]
    linear: tuple[bool, ...]
    heads: tuple[int, ...]
    groups: tuple[int, ...]

    @cached_property
    def graph(self) -> Graph:
        """The sources and destinations."""
        return Graph(self.heads, self.groups, self.sequential)

    @property
    def layers(self) -> range:
        """The numbers of the layers."""
        return range(len(self.heads))

    def points(self, *components: C) -> list[Point]:
        """The points of some components in all layers that have them here."""
        return [
            Point(layer, component)
            for layer in self.layers
            for component in components
            if component is not C.RESIDUAL_MID or self.sequential[layer]
        ]


_known: WeakKeyDictionary[ModelKit, EdgeModel] = WeakKeyDictionary()


@gaps_explained()
def edge_model(kit: ModelKit) -> EdgeModel:
    """How a model's edges are told apart. Raises UnsupportedOperationError, with what its blocks
    do otherwise, for one whose edges cannot be."""
    if kit not in _known:
        _known[kit] = _Trial(kit).result()
    return _known[kit]


class _Trial:
    """Passes over a few tokens, with other values put in."""

    def __init__(self, kit: ModelKit):
        self._kit = kit
        structure = kit.structure
        for layer in range(structure.layers):
            for component in NEEDED:
                if Point(layer, component) not in structure.shapes:
                    reason = structure.absent.get((layer, component), "it is not there")
                    self._refuse(f"layer {layer} has no {component}: {reason}")
        if structure.needs_cache:
            self._refuse("its blocks calculate otherwise without caches, which a pass changes")
        tokens = [token % kit.info.vocab_size for token in range(1, TRIED + 1)]
        mids = [
            Point(layer, C.RESIDUAL_MID)
            for layer in range(structure.layers)
            if Point(layer, C.RESIDUAL_MID) in structure.shapes
        ]
        points = [Point(layer, each) for layer in range(structure.layers) for each in NEEDED]
        self._blocks = Blocks(kit, tokens, [EMBEDDING, *points, *mids])
        self._values = self._blocks.values
        mx.eval(list(self._values.values()))

    def result(self) -> EdgeModel:
        layers = range(self._kit.structure.layers)
        shapes = self._kit.structure.shapes
        for layer in layers:
            self._check_stream(layer)
        return EdgeModel(
            sequential=tuple(map(self._is_sequential, layers)),
            linear=tuple(map(self._is_linear, layers)),
            heads=tuple(shapes[Point(layer, C.QUERY)][1] for layer in layers),
            groups=tuple(shapes[Point(layer, C.KEY)][1] for layer in layers),
        )

    def _check_stream(self, layer: int) -> None:
        """Refuse a block that adds something else to the stream, or attends by something else."""
        entering = self._value(layer, C.RESIDUAL, True)
        before = self._values[EMBEDDING if layer == 0 else Point(layer - 1, C.RESIDUAL)]
        if not _are_same(entering, before):
            self._refuse(f"layer {layer} is not given what the layer before returns")
        total = entering + self._value(layer, C.ATTENTION) + self._value(layer, C.MLP)
        if not _are_same(total, self._value(layer, C.RESIDUAL)):
            self._refuse(
                f"layer {layer} returns something else than the sum of the residual stream and "
                "what attention and MLP add"
            )
        other = entering[..., ::-1]
        for component in READS:
            (value,) = self._run(layer, other, {}, [component])
            if _are_same(value, self._value(layer, component)):
                self._refuse(f"{component} of layer {layer} is not calculated from its own stream")
        fixed = {Point(layer, each): self._value(layer, each) for each in READS}
        (attention,) = self._run(layer, other, fixed, [C.ATTENTION])
        if not _are_same(attention, self._value(layer, C.ATTENTION)):
            self._refuse(
                f"attention of layer {layer} reads the residual stream beside its queries, keys "
                "and values"
            )

    def _is_sequential(self, layer: int) -> bool:
        """Whether the MLP reads what attention writes; refuse one that reads something else."""
        stream, mlp = self._value(layer, C.RESIDUAL, True), self._value(layer, C.MLP)
        heads = Point(layer, C.HEAD_OUTPUT)
        changed = {heads: self._values[heads][..., ::-1]}
        (after,) = self._run(layer, stream, changed, [C.MLP])
        if _are_same(after, mlp):
            return False
        mid = Point(layer, C.RESIDUAL_MID)
        if mid not in self._values:
            self._refuse(f"layer {layer} has no residual_mid, and its MLP reads attention's output")
        (after,) = self._run(layer, stream[..., ::-1], {mid: self._values[mid]}, [C.MLP])
        if not _are_same(after, mlp):
            self._refuse(f"the MLP of layer {layer} reads something beside residual_mid")
        total = stream + self._value(layer, C.ATTENTION)
        if not _are_same(total, self._values[mid]):
            self._refuse(f"residual_mid of layer {layer} is not the stream and attention's output")
        return True

    def _is_linear(self, layer: int) -> bool:
        """Whether what attention adds is the sum of what its heads do and of a constant."""
        heads = self._value(layer, C.HEAD_OUTPUT)
        stream = self._value(layer, C.RESIDUAL, True)
        whole, half, none = (
            self._run(layer, stream, {Point(layer, C.HEAD_OUTPUT): share * heads}, [C.ATTENTION])[0]
            for share in (1, 0.5, 0)
        )
        return _are_same(2 * half.astype(mx.float32), whole.astype(mx.float32) + none)

    def _run(
        self, layer: int, stream: mx.array, changes: Values, wanted: Sequence[C]
    ) -> list[mx.array]:
        points = [Point(layer, component) for component in wanted]
        return self._blocks.run(layer, stream, changes, points)

    def _value(self, layer: int, component: C, is_input: bool = False) -> mx.array:
        return self._values[Point(layer, component, is_input)]

    def _refuse(self, why: str) -> None:
        raise UnsupportedOperationError(
            f"the edges of {self._kit.info.architecture} cannot be told apart: {why}"
        )


def _are_same(one: mx.array, other: mx.array) -> bool:
    most = max(SAME.get(each.dtype, 1e-4) for each in (one, other))
    a, b = (np.array(each.astype(mx.float32)) for each in (one, other))
    return bool(np.abs(a - b).max() <= most * max(np.abs(b).max(), 1e-30))
