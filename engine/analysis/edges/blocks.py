"""The blocks of one pass, run again one by one with another residual stream or other values inside.

A block is called with what it was called with in the pass (its mask, its rotations), but for the
residual stream. MLX evaluates only what is asked for, so that the queries of some streams cost a
norm and a projection each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.components import ComponentType as C
from engine.errors import UnsupportedOperationError
from engine.runs.kit import ModelKit
from engine.taps.class_swap import Scope
from engine.taps.observation import Observation, observed
from engine.taps.points import Point, Span, Visitor
from engine.taps.roles import ModuleRole, first_array
from engine.taps.shares import Share

Values = Mapping[Point, mx.array]


@dataclass(eq=False)
class _Recorded(ModuleRole):
    """The role of a block that keeps what the block is called with."""

    calls: list[tuple[tuple, dict]] = field(default_factory=list)

    def call(self, scope: Scope, forward, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        self.calls.append((args, kwargs))
        return ModuleRole.call(self, scope, forward, module, args, kwargs)


@dataclass(eq=False)
class _Part:
    """A model of which some modules are observed."""

    model: nn.Module
    roles: list[tuple[nn.Module, ModuleRole]]
    shares: dict[Point, Share] = field(default_factory=dict)


class Blocks:
    """The blocks of the pass over a prompt, and its values at some points."""

    def __init__(self, kit: ModelKit, tokens: Sequence[int], points: Iterable[Point]):
        structure = kit.structure
        if structure.shares:
            raise UnsupportedOperationError(
                "edges of a model that is spread over ranks: load it in one process"
            )
        self.length = len(tokens)
        self._modules = [_module(structure.model, name) for name in structure.layer_names]
        blocks = {id(module): layer for layer, module in enumerate(self._modules)}
        self._parts = [
            _Part(structure.model, [(m, r) for m, r in structure.roles if id(m) in inside])
            for inside in ({id(m) for m in block.modules()} for block in self._modules)
        ]
        recorded: dict[int, _Recorded] = {}
        roles: list[tuple[nn.Module, ModuleRole]] = []
        for module, role in structure.roles:
            if id(module) in blocks:
                layer = blocks[id(module)]
                own = {name: getattr(role, name) for name in ModuleRole.__slots__}
                recorded[layer] = _Recorded(**own)
                roles.append((module, recorded[layer]))
            else:
                roles.append((module, role))
        self.values: dict[Point, mx.array] = {}
        entering = [Point(layer, C.RESIDUAL, True) for layer in range(structure.layers)]
        wanted = dict.fromkeys([*entering, *points])
        visitors = {point: _keeping(point, self.values) for point in wanted}
        with observed(_Part(structure.model, roles), visitors):
            self.logits = structure.logits(mx.array([list(tokens)]))
        self._calls = []
        for layer in range(structure.layers):
            calls = recorded[layer].calls if layer in recorded else []
            if len(calls) != 1:
                raise UnsupportedOperationError(
                    f"edges: layer {layer} of {kit.info.architecture} runs {len(calls)} times in a "
                    "pass, not once"
                )
            self._calls.append((*calls[0], recorded[layer].argument))

    def run(
        self, layer: int, stream: mx.array, changes: Values, wanted: Sequence[Point]
    ) -> list[mx.array]:
        """What a block has at the `wanted` points where `stream`, ``[rows, seq, hidden]``, enters
        it and `changes` take the place of its own values; one row of either is for all rows."""
        rows = max(each.shape[0] for each in (stream, *changes.values()))
        stream = mx.broadcast_to(stream, (rows, *stream.shape[1:]))
        seen: dict[Point, mx.array] = {}
        visitors = {
            point: _keeping(point, seen, _broadcast(changes.get(point), rows))
            for point in {*wanted, *changes}
        }
        args, kwargs, argument = self._calls[layer]
        given, named = list(args), dict(kwargs)
        place: Any = given if given else named
        place[argument if given else first_array(named)] = stream
        observation = Observation(self._parts[layer], visitors)
        with observation.taps(), observation.watching():
            observation.begin_pass(Span(0, self.length), rows)
            self._modules[layer](*given, **named)
        return [seen[point] for point in wanted]


def _module(model: nn.Module, name: str) -> nn.Module:
    module: Any = model
    for word in name.split("."):
        module = module[int(word)] if isinstance(module, list) else getattr(module, word)
    return module


def _broadcast(value: mx.array | None, rows: int) -> mx.array | None:
    return None if value is None else mx.broadcast_to(value, (rows, *value.shape[1:]))


def _keeping(point: Point, seen: dict[Point, mx.array], value: mx.array | None = None) -> Visitor:
    """A visitor that keeps the value at a point, after it was replaced if a value is given."""

    def visit(own: mx.array, span: Span) -> mx.array:
        seen[point] = own if value is None else value
        return seen[point]

    return visit
