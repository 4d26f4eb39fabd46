"""Passes in which linear layers return codes in place of what they compute.

What is not read is never evaluated, so that such a pass costs no more than building it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.components import PER_HEAD
from engine.components import ComponentType as C
from engine.structure.resolver import Structure
from engine.taps.class_swap import Scope, Taps, observing
from engine.taps.frozen import is_norm
from engine.taps.points import Point, Span, Visitors, sequence_axis
from engine.taps.roles import ModuleRole, first_array
from engine.weights import dense
from engine.weights.codes import Code, Origin, codes, decoded

TOKENS = 2
READ = frozenset(
    {
        C.QUERY_PRE_ROPE,
        C.KEY_PRE_ROPE,
        C.QUERY,
        C.KEY,
        C.VALUE,
        C.ATTENTION,
        C.MLP,
        C.MLP_GATE,
        C.MLP_HIDDEN,
        C.EXPERT_OUTPUT,
    }
)
"""The components that passes with coded layers are read at."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer of the model: `inputs` and `outputs` are its widths, `blocks` its blocks."""

    number: int
    path: str
    module: nn.Module
    inputs: int
    outputs: int
    blocks: tuple[int, ...]


Outputs = Callable[[Layer], np.ndarray]
"""What a layer returns: an array of its `outputs` numbers, for every token or for each."""


@dataclass(eq=False)
class Reading:
    """What one pass read: the values at points, and of layers by number what each was given."""

    points: dict[Point, mx.array] = field(default_factory=dict)
    inputs: dict[int, mx.array] = field(default_factory=dict)

    def point(self, point: Point, token: int = 0) -> np.ndarray:
        """A point's value of one token: ``[heads, d_head]``, ``[width]``; of the first chosen
        expert, if it is that of several."""
        value = _numpy(self.points[point])[0]
        first = value[:, token] if sequence_axis(point) == 2 else value[token]
        of_experts = first.ndim == 2 and point.component not in PER_HEAD
        return first[0] if of_experts else first

    def given(self, layer: Layer) -> np.ndarray:
        """What a layer was given for the first token, ``[inputs]``."""
        return _numpy(self.inputs[layer.number].reshape(-1, layer.inputs)[0])


class Probe:
    """A model whose linear layers can be made to return codes."""

    def __init__(self, structure: Structure):
        self.structure = structure
        self.hidden = structure.hidden_size
        self.roles = {id(module): role for module, role in structure.roles}
        modules = dict(structure.model.named_modules())
        blocks = [modules[name] for name in structure.layer_names]
        members = [{id(module) for module in block.modules()} for block in blocks]
        adapted = filter(dense.is_adapted, modules.values())
        inner = {id(part) for module in adapted for part in module.modules() if part is not module}
        self.layers: list[Layer] = []
        self.norms: list[nn.Module] = []
        for path, module in modules.items():
            if is_norm(module):
                self.norms.append(module)
            elif id(module) not in inner and (widths := dense.widths(module)):
                within = tuple(n for n, ids in enumerate(members) if id(module) in ids)
                self.layers.append(Layer(len(self.layers), path, module, *widths, within))

    def in_block(self, block: int) -> list[Layer]:
        """The layers of a block that a pass runs, in the order of their first calls."""
        called = self.coded["one"].inputs
        return [self.layers[number] for number in called if block in self.layers[number].blocks]

    @cached_property
    def coded(self) -> dict[str, Reading]:
        """The passes in which all layers return their codes, by the names of the codes."""
        return self.passes({})

    def passes(self, held: dict[int, np.ndarray]) -> dict[str, Reading]:
        """Passes in which all layers return their codes, but that some outputs are one:
        `held` says which, by the numbers of the layers."""

        def outputs(code: Code) -> Outputs:
            def answer(layer: Layer) -> np.ndarray:
                sent = code(layer.number, np.arange(layer.outputs))
                coded = np.where(held.get(layer.number, False), np.float32(1), sent)
                return np.broadcast_to(coded, (layer.outputs,))

            return answer

        readings = {name: self.run(outputs(code)) for name, code in codes().items()}
        mx.eval([list(reading.points.values()) for reading in readings.values()])
        return readings

    @cached_property
    def unaltered_norms(self) -> Reading:
        """As the pass ``check``, but that the norms are what they are."""
        code = codes()["check"]
        return self.run(lambda layer: code(layer.number, np.arange(layer.outputs)), norms=True)

    def origin(self, point: Point, passes: dict[str, Reading] | None = None) -> Origin | None:
        """Which layer's outputs a point's value is made of."""
        passes = passes or self.coded
        if any(point not in reading.points for reading in passes.values()):
            return None
        return decoded({name: reading.point(point) for name, reading in passes.items()})

    def is_normed(self, point: Point) -> bool:
        """Whether a norm is between the layer that a point's value comes from, and the point."""
        ours, theirs = (r.point(point) for r in (self.coded["check"], self.unaltered_norms))
        return not np.allclose(ours, theirs, rtol=1e-2, atol=0)

    def mixes_tokens(self, point: Point) -> bool:
        """Whether a point's value of a token depends on the tokens before, as after a
        convolution."""
        alike, alone = (r.point(point, -1) for r in (self.coded["one"], self._first_is_zero))
        return not np.allclose(alike, alone, rtol=1e-2, atol=0)

    @cached_property
    def _first_is_zero(self) -> Reading:
        """As the pass ``one``, but that layers return zero for the first token."""
        return self.run(lambda layer: np.outer([0, 1], np.ones(layer.outputs)).astype(np.float32))

    def run(
        self,
        outputs: Outputs | None,
        values: dict[Point, Callable[[tuple[int, ...]], np.ndarray]] | None = None,
        *,
        norms: bool = False,
        tokens: Iterable[int] = range(TOKENS),
        read: Collection[C] = READ,
    ) -> Reading:
        """Run a pass: layers return `outputs` (None: with what they compute), points of
        `values` with what those return for a point's shape, norms with what they are given.

        The values of the components to `read` are kept, not yet evaluated.
        """
        reading, values = Reading(), values or {}
        wanted = {p for p in self.structure.shapes if p.component in read and not p.is_input}
        visitors = self._visitors(reading, values, wanted | values.keys())
        scope = Scope(visitors, {}, {})
        modules: dict[int, nn.Module] = {}
        for module, role in self.structure.roles:
            if any(map(scope.wants, role.points)):
                modules[id(module)] = module
                scope.roles[id(module)] = role
                if any(map(scope.wants, role.points_inside)):
                    scope.inside.add(id(module))
        for layer in self.layers:
            if outputs is None:
                break
            module = modules.setdefault(id(layer.module), layer.module)
            inner = scope.roles.get(id(module), ModuleRole())
            scope.roles[id(module)] = _Answering(inner, layer, outputs(layer), reading)
        for module in () if norms else self.norms:
            modules.setdefault(id(module), module)
            scope.roles[id(module)] = _Passing(scope.roles.get(id(module), ModuleRole()))
        prompt = mx.array([list(tokens)])
        scope.begin(Span(0, prompt.shape[1]), 1)
        with Taps(modules.values()).in_place(), observing(scope):
            self.structure.logits(prompt)
        return reading

    def _visitors(self, reading: Reading, values: dict, points: Iterable[Point]) -> Visitors:
        def visitor(point: Point):
            def visit(value: mx.array, span: Span) -> mx.array:
                if point in values:
                    made = mx.array(values[point](value.shape))
                    value = mx.broadcast_to(made, value.shape).astype(value.dtype)
                reading.points.setdefault(point, value)
                return value

            return visit

        return {point: visitor(point) for point in points}


@dataclass(eq=False)
class _Altered(ABC):
    """A module's role in whose place of the module's own call another function runs."""

    role: Any

    def call(self, scope: Scope, forward, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        def altered(module: nn.Module, *args, **kwargs) -> Any:
            return self.answer(forward(module, *args, **kwargs), args, kwargs)

        return self.role.call(scope, altered, module, args, kwargs)

    def operation(self, *args) -> Any:
        return self.role.operation(*args)

    @abstractmethod
    def answer(self, result: Any, args: tuple, kwargs: dict) -> Any:
        """What is returned in place of `result`, which the module returned for these arguments."""


@dataclass(eq=False)
class _Answering(_Altered):
    layer: Layer
    output: np.ndarray
    reading: Reading

    def answer(self, result: Any, args: tuple, kwargs: dict) -> Any:
        given = args[0] if args else kwargs[first_array(kwargs)]
        parts = list(result) if isinstance(result, list | tuple) else [result]
        widths = [part.shape[-1] for part in parts if isinstance(part, mx.array)]
        looks_up = mx.issubdtype(given.dtype, mx.integer)
        if looks_up or (given.shape[-1], sum(widths)) != (self.layer.inputs, self.layer.outputs):
            return result
        self.reading.inputs.setdefault(self.layer.number, given)
        output = self.output
        if output.ndim == 2 and any(part.shape[-2:-1] != (TOKENS,) for part in parts):
            output = output[-1]  # of experts, whose tokens are in an order of their own
        pieces = np.split(output, np.cumsum(widths)[:-1], axis=-1)
        made = [
            mx.broadcast_to(mx.array(piece), part.shape).astype(part.dtype)
            for piece, part in zip(pieces, parts, strict=True)
        ]
        return made if isinstance(result, list | tuple) else made[0]


class _Passing(_Altered):
    def answer(self, result: Any, args: tuple, kwargs: dict) -> Any:
        if args and isinstance(result, mx.array) and args[0].shape == result.shape:
            return args[0].astype(result.dtype)
        return result


def _numpy(value: mx.array) -> np.ndarray:
    return np.array(value.astype(mx.float32))
