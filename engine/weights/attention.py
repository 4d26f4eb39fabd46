"""The projections of attention: to each head's query, key and value, and back to the stream."""

from collections.abc import Iterator

import numpy as np

from engine.components import ComponentType as C
from engine.taps.points import Point
from engine.weights import dense
from engine.weights.codes import Code, Origin, codes, decoded
from engine.weights.probe import Layer, Probe, Reading
from engine.weights.weight import Side, Weight

PROJECTED = {"Q": C.QUERY, "K": C.KEY, "V": C.VALUE}
BEFORE_ROTATION = {"Q": C.QUERY_PRE_ROPE, "K": C.KEY_PRE_ROPE}
NAMES = tuple(f"{kind}_{letter}" for kind in "Wb" for letter in "QKVO")
NORMED = "a norm is between this and {}"
GATED = "a gate is between head_output and this"

Found = Weight | str
"""A weight, or the reason why there is none."""


class Attention:
    """Finds the projections of attention in each block."""

    def __init__(self, probe: Probe):
        self.probe = probe
        self.structure = probe.structure
        self._heads = self._passes_with_coded_heads()

    def weights(self, block: int) -> Iterator[tuple[str, Found]]:
        """Each name with its weight in a block, or the reason why it is absent there."""
        if Point(block, C.QUERY) not in self.structure.shapes:
            reason = self.structure.absent[block, C.QUERY]
            yield from ((name, reason) for name in NAMES)
            return
        for letter, component in PROJECTED.items():
            yield from self._projection(block, letter, component)
        yield from self._output(block)

    # --- query, key, value ---------------------------------------------------------------

    def _projection(self, block: int, letter: str, component: C) -> Iterator[tuple[str, Found]]:
        names = f"W_{letter}", f"b_{letter}"
        point = Point(block, component)
        before = Point(block, BEFORE_ROTATION.get(letter, component))
        shapes = self.structure.shapes
        if before in shapes and shapes[before] == shapes[point]:
            point = before
        origin = self.probe.origin(point)
        if origin is None or self.probe.mixes_tokens(point):
            reason = f"the {component} of a token is not a linear map of what attention reads of it"
            yield from ((name, reason) for name in names)
            return
        layers = [self.probe.layers[number] for number in origin.numbers]
        layer = layers[0]
        reason = self._not_this(block, component, layers)
        if reason:
            yield from ((name, reason) for name in names)
            return
        head = "head" if letter == "Q" else "kv_head"
        notes = [NORMED.format(component)] if self.probe.is_normed(point) else []
        yield from projection(names, block, layer, origin, (head, "d_head"), tuple(notes))

    def _not_this(self, block: int, component: C, layers: list[Layer]) -> str:
        """Why the layers that a component is made by are not one projection of this block."""
        paths = ", ".join(layer.path for layer in layers)
        if len(layers) > 1:
            return f"the {component} is put together of {paths}"
        (layer,) = layers
        if block not in layer.blocks:
            return f"the {component} is that of another layer, made by {paths}"
        if layer.inputs != self.probe.hidden:
            return (
                f"the {component} is projected by {paths} from a latent of {layer.inputs}, not "
                f"from the stream of {self.probe.hidden}"
            )
        return ""

    # --- output --------------------------------------------------------------------------

    def _passes_with_coded_heads(self) -> dict[str, Reading]:
        """Passes in which each head's output is coded, and every layer returns zero; in the last
        two, one."""
        points = [p for p in self.structure.shapes if p.component is C.HEAD_OUTPUT]

        def run(code: Code, output: float) -> Reading:
            def value(shape: tuple[int, ...]) -> np.ndarray:
                return code(0, _numbering(shape))

            def outputs(layer: Layer) -> np.ndarray:
                return np.full(layer.outputs, output, np.float32)

            return self.probe.run(outputs, dict.fromkeys(points, value), read=())

        readings = {name: run(code, 0.0) for name, code in codes().items()}
        readings |= {f"gated_{name}": run(codes()[name], 1.0) for name in ("zero", "one")}
        return readings

    def _output(self, block: int) -> Iterator[tuple[str, Found]]:
        names = "W_O", "b_O"
        point = Point(block, C.HEAD_OUTPUT)
        _, heads, _, width = self.structure.shapes[point]
        for layer in self.probe.in_block(block):
            origin = self._origin_of_input(layer, heads * width)
            if origin is None:
                continue
            if layer.outputs != self.probe.hidden:
                reason = f"{layer.path} takes the heads to {layer.outputs}, not to the stream"
                yield from ((name, reason) for name in names)
                return
            yield from self._output_weights(block, layer, origin, (heads, width))
            return
        reason = "no linear layer takes the output of all heads as it is"
        yield from ((name, reason) for name in names)

    def _output_weights(
        self, block: int, layer: Layer, origin: Origin, shape: tuple[int, int]
    ) -> Iterator[tuple[str, Found]]:
        notes = []
        gated = self._heads["gated_one"].given(layer) - self._heads["gated_zero"].given(layer)
        is_gated = not np.allclose(gated, origin.scale, rtol=1e-2, atol=0)
        if is_gated:
            notes.append(GATED)
        places = np.argsort(origin.index).reshape(shape)
        scale = 1.0 if is_gated else origin.scale[places]
        factor, note = added(self.probe, Point(block, C.ATTENTION), layer)
        notes += note
        inputs = Side(("head", "d_head"), places, scale)
        outputs = Side.whole("d_model", layer.outputs, factor)
        axes = ("head", "d_head", "d_model")
        yield (
            "W_O",
            Weight(
                "W_O", block, axes, layer.module, layer.path, outputs, inputs, None, tuple(notes)
            ),
        )
        yield "b_O", bias("b_O", block, layer, outputs, tuple(notes))

    def _origin_of_input(self, layer: Layer, width: int) -> Origin | None:
        if layer.inputs != width or layer.number not in self._heads["one"].inputs:
            return None
        read = {
            name: reading.given(layer)
            for name, reading in self._heads.items()
            if not name.startswith("gated")
        }
        origin = decoded(read)
        is_whole = origin is not None and (np.sort(origin.index) == np.arange(width)).all()
        return origin if is_whole else None


def added(probe: Probe, point: Point, layer: Layer) -> tuple[float, list[str]]:
    """The constant by which the model multiplies what a layer returns before it adds it to the
    stream, or a note of what else it does with it."""
    origin = probe.origin(point)
    if origin is None or origin.numbers != [layer.number] or np.ptp(origin.scale):
        return 1.0, [f"what is added to the stream is more than a factor away from {layer.path}"]
    notes = [NORMED.format("the stream")] if probe.is_normed(point) else []
    return float(origin.scale.flat[0]), notes


def projection(
    names: tuple[str, str],
    block: int,
    layer: Layer,
    origin: Origin,
    axes: tuple[str, ...],
    notes: tuple[str, ...],
) -> Iterator[tuple[str, Found]]:
    """The weight and the bias of what a linear layer makes of the stream."""
    outputs = Side(axes, origin.index, origin.scale, origin.shift)
    inputs = Side.whole("d_model", layer.inputs)
    order = (*axes[:-1], "d_model", axes[-1])
    yield (
        names[0],
        Weight(names[0], block, order, layer.module, layer.path, outputs, inputs, None, notes),
    )
    yield names[1], bias(names[1], block, layer, outputs, notes)


def bias(
    name: str, block: int | None, layer: Layer, outputs: Side, notes: tuple[str, ...] = ()
) -> Found:
    """What is added to a layer's outputs, or that nothing is."""
    if dense.bias(layer.module) is None and not np.any(outputs.shift):
        return "the linear layer has no bias"
    experts = dense.experts(layer.module)
    axes = (*(("expert",) if experts else ()), *outputs.axes)
    return Weight(name, block, axes, layer.module, layer.path, outputs, None, experts, notes)


def _numbering(shape: tuple[int, ...]) -> np.ndarray:
    """For ``[batch, heads, seq, d_head]``: the numbers of all heads counted, at each position."""
    _, heads, _, width = shape
    return np.arange(heads * width).reshape(1, heads, 1, width)
