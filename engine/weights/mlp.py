"""The projections of the MLP: to its neurons, to their gates, and back to the stream."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.components import ComponentType as C
from engine.structure.resolver import Structure
from engine.taps.points import Point
from engine.weights import dense
from engine.weights.attention import Found, added, bias
from engine.weights.probe import Layer, Probe, Reading
from engine.weights.weight import Side, Weight

NAMES = tuple(f"{kind}_{part}" for kind in "Wb" for part in ("in", "gate", "out", "router"))
CLOSED = -100.0
"""What closes a gate: the activation functions of gated MLPs make (nearly) nothing of it."""
SPLITS = {
    "the first half": lambda index, size: index < size // 2,
    "the second half": lambda index, size: index >= size // 2,
    "even": lambda index, size: index % 2 == 0,
    "odd": lambda index, size: index % 2 == 1,
}
"""How the outputs of one layer may be those of two: which of them are the gates."""


@dataclass(frozen=True, eq=False)
class Down:
    """The layer from the neurons to the stream, and those of its block that might lead to them."""

    layer: Layer
    experts: int | None
    candidates: tuple[Layer, ...]


class Mlps:
    """Finds the projections of the MLP in each block."""

    def __init__(self, probe: Probe):
        self.probe = probe
        self.structure: Structure = probe.structure
        self.downs = {block: self._down(block) for block in range(self.structure.layers)}
        self._open = probe.coded["one"]
        found = [down for down in self.downs.values() if isinstance(down, Down)]
        most = max((len(down.candidates) for down in found), default=0)
        self._closed = [
            self._closing({d.candidates[k].number: None for d in found if k < len(d.candidates)})
            for k in range(most)
        ]
        fused = [c for d in found for c in d.candidates if c.outputs == 2 * d.layer.inputs]
        self._split = {
            name: self._closing({each.number: name for each in fused}) for name in SPLITS if fused
        }

    def weights(self, block: int) -> Iterator[tuple[str, Found]]:
        """Each name with its weight in a block, or the reason why it is absent there."""
        yield from self._router(block)
        down = self.downs[block]
        if isinstance(down, str):
            names = [name for name in NAMES if not name.endswith("router")]
            yield from ((name, down) for name in names)
            return
        yield from self._out(block, down)
        yield from self._in(block, down)

    # --- to the stream -------------------------------------------------------------------

    def _point(self, block: int) -> Point | None:
        points = Point(block, C.EXPERT_OUTPUT), Point(block, C.MLP)
        return next((point for point in points if point in self.structure.shapes), None)

    def _down(self, block: int) -> Down | str:
        point = self._point(block)
        if point is None:
            return self.structure.absent[block, C.MLP]
        origin = self.probe.origin(point)
        if origin is None:
            return "what the mlp adds to the stream is not a linear map of one layer's neurons"
        layers = [self.probe.layers[n] for n in np.unique(origin.number)]
        if len(layers) > 1 or (origin.index != np.arange(origin.index.size)).any():
            paths = ", ".join(layer.path for layer in layers)
            return f"what the mlp adds to the stream is put together of {paths}"
        (layer,) = layers
        ran = self.probe.in_block(block)
        if layer not in ran:
            return f"the mlp is that of another layer, made by {layer.path}"
        before = ran[: ran.index(layer)]
        stream, widths = self.probe.hidden, (layer.inputs, 2 * layer.inputs)
        near = [c for c in before if c.inputs == stream and c.outputs in widths]
        experts = dense.experts(layer.module)
        return Down(layer, experts, tuple(near))

    def _out(self, block: int, down: Down) -> Iterator[tuple[str, Found]]:
        layer, point = down.layer, self._point(block)
        factor, notes = added(self.probe, point, layer)
        outputs = Side.whole("d_model", layer.outputs, factor)
        inputs = Side.whole("d_mlp", layer.inputs)
        axes = (*(("expert",) if down.experts else ()), "d_mlp", "d_model")
        yield (
            "W_out",
            Weight(
                "W_out",
                block,
                axes,
                layer.module,
                layer.path,
                outputs,
                inputs,
                down.experts,
                tuple(notes),
            ),
        )
        yield "b_out", bias("b_out", block, layer, outputs, tuple(notes), down.experts)

    # --- from the stream -----------------------------------------------------------------

    def _closing(self, layers: dict[int, str | None]) -> Reading:
        """A pass in which all layers answer one, but these, or a split of them, close gates."""

        def outputs(layer: Layer) -> np.ndarray:
            if layer.number not in layers:
                return np.float32(1)
            split = layers[layer.number]
            if split is None:
                return np.float32(CLOSED)
            index = np.arange(layer.outputs)
            closed = SPLITS[split](index, layer.outputs)
            return np.where(closed, CLOSED, 1).astype(np.float32)

        return self.probe.run(outputs)

    def _in(self, block: int, down: Down) -> Iterator[tuple[str, Found]]:
        opened = self._open.given(down.layer)
        gates, others = [], []
        for candidate, closed in zip(down.candidates, self._closed, strict=False):
            hidden = closed.given(down.layer)
            if np.abs(hidden).max() <= 1e-3 * np.abs(opened).min():
                gates.append(candidate)
            elif not np.allclose(hidden, opened):
                others.append(candidate)
        makers = [*gates, *others]
        width = down.layer.inputs
        if len(makers) == 1 and makers[0].outputs == 2 * width:
            yield from self._fused(block, down, makers[0], opened)
        elif len(makers) == 1:
            yield from self._linear(block, down, "in", makers[0])
            reason = "the mlp has no gate"
            yield from ((f"{kind}_gate", reason) for kind in "Wb")
        elif len(gates) == 1 and len(others) == 1 and {m.outputs for m in makers} == {width}:
            yield from self._linear(block, down, "gate", gates[0])
            yield from self._linear(block, down, "in", others[0])
        else:
            paths = ", ".join(layer.path for layer in makers) or "no linear layer of the stream"
            reason = f"the neurons are made by {paths}: not by a projection, or that and its gate"
            yield from ((f"{kind}_{part}", reason) for kind in "Wb" for part in ("in", "gate"))

    def _fused(
        self, block: int, down: Down, layer: Layer, opened: np.ndarray
    ) -> Iterator[tuple[str, Found]]:
        index = np.arange(layer.outputs)
        for name, reading in self._split.items():
            hidden = reading.given(down.layer)
            if np.abs(hidden).max() <= 1e-3 * np.abs(opened).min():
                gates = SPLITS[name](index, layer.outputs)
                yield from self._linear(block, down, "gate", layer, index[gates])
                yield from self._linear(block, down, "in", layer, index[~gates])
                return
        reason = f"the outputs of {layer.path} are not neurons and gates in halves or in turn"
        yield from ((f"{kind}_{part}", reason) for kind in "Wb" for part in ("in", "gate"))

    def _linear(
        self, block: int, down: Down, part: str, layer: Layer, places: np.ndarray | None = None
    ) -> Iterator[tuple[str, Found]]:
        places = np.arange(layer.outputs) if places is None else places
        outputs, inputs = Side(("d_mlp",), places), Side.whole("d_model", layer.inputs)
        axes = (*(("expert",) if down.experts else ()), "d_model", "d_mlp")
        name = f"W_{part}"
        yield (
            name,
            Weight(name, block, axes, layer.module, layer.path, outputs, inputs, down.experts),
        )
        yield f"b_{part}", bias(f"b_{part}", block, layer, outputs, (), down.experts)

    # --- experts -------------------------------------------------------------------------

    def _router(self, block: int) -> Iterator[tuple[str, Found]]:
        names = "W_router", "b_router"
        if Point(block, C.EXPERT_OUTPUT) not in self.structure.shapes:
            reason = self.structure.absent[block, C.EXPERT_OUTPUT]
            yield from ((name, reason) for name in names)
            return
        down = self.downs[block]
        experts = down.experts if isinstance(down, Down) else None
        for layer in self.probe.layers:
            is_matrix = block in layer.blocks and dense.experts(layer.module) is None
            if is_matrix and (layer.inputs, layer.outputs) == (self.probe.hidden, experts):
                outputs = Side.whole("expert", layer.outputs)
                inputs = Side.whole("d_model", layer.inputs)
                axes = ("d_model", "expert")
                yield (
                    "W_router",
                    Weight("W_router", block, axes, layer.module, layer.path, outputs, inputs),
                )
                if layer in self.probe.in_block(block):
                    yield "b_router", bias("b_router", block, layer, outputs)
                else:
                    yield "b_router", f"{layer.path} is not a linear layer alone: it chooses too"
                return
        reason = "no linear layer of the stream has one output for each expert"
        yield from ((name, reason) for name in names)
