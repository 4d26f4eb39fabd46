"""The embedding, the positions' embedding and the unembedding."""

from collections.abc import Iterator

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.components import ComponentType as C
from engine.structure.trace import Event, Trace
from engine.taps.points import Point
from engine.weights import dense
from engine.weights.attention import Found, bias
from engine.weights.probe import Layer, Probe
from engine.weights.weight import Side, Weight

NAMES = ("W_E", "W_pos", "W_U", "b_U")
NEARLY = 0.02
"""By how much of its size a value may be missed, for weights that are quantised or in 16 bits."""
SMALL, LARGE = 2.0**-6, 2.0**12
"""Sizes of what is unembedded: a soft cap on the logits leaves the one as it is, not the other."""


class Ends:
    """Finds what turns tokens into the stream, and the stream into logits."""

    def __init__(self, probe: Probe, trace: Trace):
        self.probe = probe
        self.structure = probe.structure
        self.tables = [event for event in trace.events if self._looks_up(event)]

    def weights(self) -> Iterator[tuple[str, Found]]:
        """Each name with its weight, or the reason why it is absent."""
        yield from self._embedding()
        yield from self._unembedding()

    def _looks_up(self, event: Event) -> bool:
        if event.module is None:
            return False
        return any(layer.module is event.module for layer in self.probe.layers) and (
            len(event.inputs) == 1 and mx.issubdtype(event.inputs[0].dtype, mx.integer)
        )

    def _layer(self, module: nn.Module) -> Layer:
        return next(layer for layer in self.probe.layers if layer.module is module)

    # --- from tokens ---------------------------------------------------------------------

    def _embedding(self) -> Iterator[tuple[str, Found]]:
        hidden = self.probe.hidden
        tables = {id(event.module): event for event in reversed(self.tables)}
        events = sorted(tables.values(), key=lambda event: event.start)
        layers = [
            layer for event in events if (layer := self._layer(event.called)).inputs == hidden
        ]
        if not layers:
            reason = f"no table of embeddings is as wide as the stream, {hidden}"
            yield from ((name, reason) for name in ("W_E", "W_pos"))
            return
        tokens, *positions = layers[:2]
        factors = self._factors(tokens, positions)
        notes = (
            () if factors is not None else ("the first block is given more than a sum of these",)
        )
        factors = factors if factors is not None else [1.0] * len(layers)
        kinds = (("W_E", "vocab"), ("W_pos", "pos"))
        for (name, axis), layer, factor in zip(kinds, layers, factors, strict=False):
            outputs = Side.whole(axis, layer.outputs, factor)
            inputs = Side.whole("d_model", layer.inputs)
            yield (
                name,
                Weight(
                    name,
                    None,
                    (axis, "d_model"),
                    layer.module,
                    layer.path,
                    outputs,
                    inputs,
                    None,
                    notes,
                ),
            )
        if not positions:
            yield "W_pos", "the model adds no embedding of positions to the stream"

    def _factors(self, tokens: Layer, positions: list[Layer]) -> list[float] | None:
        """The factors of the tables in the sum that the first block is given; None if not a sum."""
        point = Point(None, C.EMBEDDING)
        if point not in self.structure.shapes:
            return None
        given = np.arange(1, 5)
        read = self.probe.run(None, norms=True, tokens=given.tolist(), read=(C.EMBEDDING,)).points[
            point
        ]
        target = np.array(read[0].astype(mx.float32)).reshape(-1)
        rows = [_rows(tokens, given), *(_rows(each, given - 1) for each in positions)]
        basis = np.stack([each.reshape(-1) for each in rows], axis=1)
        factors, *_ = np.linalg.lstsq(
            basis.astype(np.float64), target.astype(np.float64), rcond=None
        )
        missed = np.abs(basis @ factors - target).max()
        return [_exact(f) for f in factors] if missed <= NEARLY * np.abs(target).max() else None

    # --- to logits -----------------------------------------------------------------------

    def _unembedding(self) -> Iterator[tuple[str, Found]]:
        vocab = self.structure.shapes[Point(None, C.LOGITS)][-1]
        norm, logits = Point(None, C.FINAL_NORM), Point(None, C.LOGITS)
        if norm not in self.structure.shapes:
            reason = self.structure.absent[None, C.FINAL_NORM]
            yield from ((name, reason) for name in ("W_U", "b_U"))
            return
        columns = [0, min(1, self.probe.hidden - 1)]
        units = np.eye(self.probe.hidden, dtype=np.float32)[columns][None]

        def logits_of(stream: np.ndarray) -> np.ndarray:
            read = self.probe.run(None, {norm: lambda shape: stream}, read=(C.LOGITS,)).points[
                logits
            ]
            return np.array(read[0].astype(mx.float32))

        zero = logits_of(0 * units)
        read = np.isfinite(zero[0])
        zero = np.where(read, zero, 0)
        small, large = ((logits_of(c * units) - zero) / c for c in (SMALL, LARGE))
        for layer in reversed(self.probe.layers):
            if layer.inputs != self.probe.hidden or layer.outputs < vocab or layer.blocks:
                continue
            rows = _rows(layer, np.arange(vocab))[:, columns].T
            rows, small, large = (np.where(read, each, 0) for each in (rows, small, large))
            factor = float((rows * small).sum() / (rows * rows).sum())
            if np.abs(factor * rows - small).max() > NEARLY * np.abs(small).max():
                continue
            is_linear = np.abs(large - small).max() <= NEARLY * np.abs(small).max()
            notes = () if is_linear else ("the logits are capped after this",)
            outputs = Side(("vocab",), np.arange(vocab), _exact(factor))
            inputs = Side.whole("d_model", layer.inputs)
            axes = ("d_model", "vocab")
            yield (
                "W_U",
                Weight("W_U", None, axes, layer.module, layer.path, outputs, inputs, None, notes),
            )
            yield "b_U", bias("b_U", None, layer, outputs, notes)
            return
        reason = "the logits are not what one linear layer makes of the final norm"
        yield from ((name, reason) for name in ("W_U", "b_U"))


def _rows(layer: Layer, rows: np.ndarray) -> np.ndarray:
    return np.array(dense.matrix(layer.module, rows=mx.array(rows)))


def _exact(factor: float) -> float:
    """A factor that was measured, 1 where it is so nearly."""
    return 1.0 if abs(factor - 1) < 1e-4 else float(factor)
