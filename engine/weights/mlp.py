"""The projections of the MLP: to its neurons, to their gates, and back to the stream."""

from collections.abc import Iterator

import numpy as np

from engine.components import ComponentType as C
from engine.taps.points import Point
from engine.weights import dense
from engine.weights.attention import Found, added, bias
from engine.weights.codes import Origin
from engine.weights.probe import Layer, Probe
from engine.weights.weight import Side, Weight

PARTS = ("in", "gate", "out", "router")
NAMES = tuple(f"{kind}_{part}" for kind in "Wb" for part in PARTS)


class Mlps:
    """Finds the projections of the MLP in each block.

    What the activation function is given shows which layer's outputs are before it. With those
    held at one number, what the down projection is given shows the other factor of a gated MLP.
    """

    def __init__(self, probe: Probe):
        self.probe = probe
        self.structure = probe.structure
        blocks = range(self.structure.layers)
        self._before = {n: probe.origin(Point(n, C.MLP_GATE)) for n in blocks}
        held: dict[int, np.ndarray] = {}
        for origin in filter(None, self._before.values()):
            for number in origin.numbers:
                places = held.setdefault(number, np.zeros(probe.layers[number].outputs, bool))
                places[origin.index[origin.number == number]] = True
        self._held = probe.passes(held)

    def weights(self, block: int) -> Iterator[tuple[str, Found]]:
        """Each name with its weight in a block, or the reason why it is absent there."""
        yield from self._out(block)
        yield from self._in(block)
        yield from self._router(block)

    # --- to the stream -------------------------------------------------------------------

    def _out(self, block: int) -> Iterator[tuple[str, Found]]:
        layer = self._down(block)
        if isinstance(layer, str):
            yield from _absent(layer, "out")
            return
        factor, notes = added(self.probe, self._output(block), layer)
        outputs = Side.whole("d_model", layer.outputs, factor)
        inputs = Side.whole("d_mlp", layer.inputs)
        yield from _both("out", block, layer, outputs, inputs, ("d_mlp", "d_model"), tuple(notes))

    def _output(self, block: int) -> Point:
        """The point of what the MLP, or each chosen expert, returns."""
        points = self.structure.shapes
        component = C.EXPERT_OUTPUT if Point(block, C.EXPERT_OUTPUT) in points else C.MLP
        return Point(block, component)

    def _down(self, block: int) -> Layer | str:
        point = self._output(block)
        if point not in self.structure.shapes:
            return self.structure.absent[block, C.MLP]
        origin = self.probe.origin(point)
        if origin is None:
            return "what the mlp adds to the stream is not the output of one linear layer"
        layers = [self.probe.layers[number] for number in origin.numbers]
        paths = ", ".join(layer.path for layer in layers)
        in_order = np.array_equal(origin.index, np.arange(origin.index.size))
        if len(layers) > 1 or not in_order:
            return f"what the mlp adds to the stream is put together of {paths}"
        if block not in layers[0].blocks:
            return f"the mlp is that of another layer, made by {paths}"
        return layers[0]

    # --- from the stream -----------------------------------------------------------------

    def _in(self, block: int) -> Iterator[tuple[str, Found]]:
        gate, hidden = Point(block, C.MLP_GATE), Point(block, C.MLP_HIDDEN)
        for point in (gate, hidden):
            if point not in self.structure.shapes:
                yield from _absent(self.structure.absent[block, point.component], "in", "gate")
                return
        before = self._before[block]
        if before is None:
            reason = "what the activation function is given is not the output of a linear layer"
            yield from _absent(reason, "in", "gate")
        elif not np.ptp([reading.point(hidden) for reading in self._held.values()], axis=0).any():
            yield from self._projection("in", block, before)
            yield from _absent("the mlp has no gate", "gate")
        else:
            yield from self._projection("gate", block, before)
            beside = self.probe.origin(hidden, self._held)
            if beside is None:
                yield from _absent("the gate's other factor is no linear layer's output", "in")
            else:
                yield from self._projection("in", block, beside)

    def _projection(self, part: str, block: int, origin: Origin) -> Iterator[tuple[str, Found]]:
        layers = [self.probe.layers[number] for number in origin.numbers]
        paths = ", ".join(layer.path for layer in layers)
        (layer, *others) = layers
        if others:
            yield from _absent(f"the neurons are put together of {paths}", part)
        elif block not in layer.blocks:
            yield from _absent(f"the neurons are those of another layer, made by {paths}", part)
        elif layer.inputs != self.probe.hidden:
            reason = f"{paths} is given {layer.inputs} numbers, not the stream"
            yield from _absent(reason, part)
        else:
            outputs = Side(("d_mlp",), origin.index)
            inputs = Side.whole("d_model", layer.inputs)
            yield from _both(part, block, layer, outputs, inputs, ("d_model", "d_mlp"))

    # --- experts -------------------------------------------------------------------------

    def _router(self, block: int) -> Iterator[tuple[str, Found]]:
        if Point(block, C.EXPERT_OUTPUT) not in self.structure.shapes:
            yield from _absent(self.structure.absent[block, C.EXPERT_OUTPUT], "router")
            return
        down = self._down(block)
        experts = None if isinstance(down, str) else dense.experts(down.module)
        for layer in self.probe.layers:
            is_matrix = block in layer.blocks and dense.experts(layer.module) is None
            if is_matrix and (layer.inputs, layer.outputs) == (self.probe.hidden, experts):
                outputs = Side.whole("expert", layer.outputs)
                inputs = Side.whole("d_model", layer.inputs)
                found = dict(_both("router", block, layer, outputs, inputs, ("d_model", "expert")))
                if layer not in self.probe.in_block(block):
                    reason = f"{layer.path} chooses too, so that what it adds is not a bias alone"
                    found["b_router"] = reason
                yield from found.items()
                return
        reason = "no linear layer of the stream has one output for each expert"
        yield from _absent(reason, "router")


def _both(
    part: str,
    block: int,
    layer: Layer,
    outputs: Side,
    inputs: Side,
    axes: tuple[str, ...],
    notes: tuple[str, ...] = (),
) -> Iterator[tuple[str, Found]]:
    """A part's weight and bias."""
    experts = dense.experts(layer.module)
    axes = (*(("expert",) if experts else ()), *axes)
    name, module, path = f"W_{part}", layer.module, layer.path
    yield name, Weight(name, block, axes, module, path, outputs, inputs, experts, notes)
    yield f"b_{part}", bias(f"b_{part}", block, layer, outputs, notes)


def _absent(reason: str, *parts: str) -> Iterator[tuple[str, Found]]:
    for part in parts:
        yield from ((f"{kind}_{part}", reason) for kind in "Wb")
