"""Exact runs of a circuit of edges: what other edges carry comes from the corrupted prompt.

Over the clean prompt each destination reads what its sources write: over an edge that is kept, what
the source writes in this very run; over an edge that is patched, what it writes over the corrupted
prompt (Conmy et al. 2023, arXiv:2304.14997; Hanna et al. 2024, arXiv:2403.17806). With all edges
kept that is the clean run, with none the corrupted one.

A destination's stream is that of the run, and for each patched edge what the source writes over the
corrupted prompt less what it writes in the run. What the heads of one layer write is added up only
where it is a sum; where a norm comes behind the output projection, it is calculated for each set of
heads that a destination reads from the corrupted prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.analysis.edges.attribution import READ_BY, one_by_one
from engine.analysis.edges.blocks import Blocks
from engine.analysis.edges.model import EMBEDDING, EdgeModel
from engine.analysis.task import Task
from engine.components import ComponentType as C
from engine.errors import NotFiniteError
from engine.runs.kit import ModelKit
from engine.taps.observation import observed
from engine.taps.points import Point
from engine.turns import give_way

FINAL_NORM_INPUT = Point(None, C.FINAL_NORM, True)


@dataclass(frozen=True)
class _State:
    """A run before a layer: its stream, what has been written otherwise over the corrupted prompt,
    and which rows of that each destination adds, ``[destinations, rows]``."""

    stream: mx.array
    changes: mx.array
    adds: np.ndarray


@dataclass(frozen=True)
class CircuitRun:
    """One run of a circuit: its score, its logits at the last position ``[vocab]``, and how it was
    before each layer, from which a run of a circuit that differs behind it can go on: the stream,
    and how many of the rows of `changes` had been written."""

    score: float
    logits: mx.array
    changes: mx.array
    streams: tuple[tuple[mx.array, int], ...]


class CircuitRuns:
    """The runs of circuits over the two prompts of a task.

    `clean_score` and `corrupted_score` are those of the plain passes.
    """

    def __init__(self, kit: ModelKit, model: EdgeModel, task: Task):
        self._kit, self._model, self._task = kit, model, task
        wanted = [EMBEDDING, *model.points(C.HEAD_OUTPUT, C.MLP)]
        self._blocks = Blocks(kit, task.clean, [EMBEDDING])
        corrupted = Blocks(kit, task.corrupted, wanted)
        self._embeddings = self._blocks.values[EMBEDDING]
        self._corrupted = {point: corrupted.values[point] for point in wanted}
        self.clean_score, self.corrupted_score = (
            float(np.array(task.score(each.logits))[0]) for each in (self._blocks, corrupted)
        )
        self.clean_logits = self._blocks.logits[0, -1].astype(mx.float32)
        mx.eval(self.clean_logits, list(self._corrupted.values()))

    def run(self, kept: np.ndarray, before: CircuitRun | None = None, layer: int = 0) -> CircuitRun:
        """Run a circuit whose edges `kept`, ``[destinations, sources]``, says.

        With the run `before` of a circuit that differs in edges into `layer` and behind it alone,
        layers below are not run again, unless what a layer's heads write is no sum: then the sets
        of heads that are read may be others. Raises NotFiniteError.
        """
        if not all(self._model.linear):
            before, layer = None, 0
        patched = self._model.graph.edges & ~kept
        streams = list(before.streams[:layer]) if before else []
        state = self._first(patched)
        if before:
            stream, rows = before.streams[layer]
            state = _State(stream, before.changes[:rows], self._adds(patched, layer))
        for each in self._model.layers[layer:]:
            streams.append((state.stream, state.changes.shape[0]))
            state = self._after(state, each, patched)
            mx.eval(state.stream, state.changes)
            give_way()
        streams.append((state.stream, state.changes.shape[0]))
        logits = self._logits(self._read(state, slice(len(patched) - 1, len(patched)))[0])
        score = float(np.array(self._task.score(logits))[0])
        if not np.isfinite(score):
            raise NotFiniteError("a circuit's score is NaN or infinite: load the model in float32")
        last = logits[0, -1].astype(mx.float32)
        return CircuitRun(score, last, state.changes, tuple(streams))

    # --- what destinations read --------------------------------------------------------------

    def _first(self, patched: np.ndarray) -> _State:
        change = self._corrupted[EMBEDDING] - self._embeddings
        return _State(self._embeddings, change, patched[:, :1])

    def _adds(self, patched: np.ndarray, layer: int) -> np.ndarray:
        """The rows of changes below a layer that each destination adds."""
        columns = [patched[:, :1]]
        for below in range(layer):
            columns += [self._head_columns(below, patched), self._mlp_columns(below, patched)]
        return np.concatenate(columns, axis=1)

    def _read(self, state: _State, rows: slice) -> tuple[mx.array, np.ndarray]:
        """The streams that some destinations read, each once, ``[distinct, seq, hidden]``, and
        which of them each destination reads."""
        distinct, which = np.unique(state.adds[rows], axis=0, return_inverse=True)
        if not distinct.any():
            return state.stream, which.reshape(-1)
        changes = state.changes
        weights = mx.array(distinct.astype(np.float32)).astype(changes.dtype)
        added = (weights @ changes.reshape(changes.shape[0], -1)).reshape(-1, *changes.shape[1:])
        return state.stream + added, which.reshape(-1)

    # --- one layer ---------------------------------------------------------------------------

    def _after(self, state: _State, layer: int, patched: np.ndarray) -> _State:
        attention, heads = self._attention(state, layer)
        middle = state.stream + attention
        rows = self._head_rows(state, layer, patched, heads, attention)
        columns = self._head_columns(layer, patched)
        within = _State(
            middle if self._model.sequential[layer] else state.stream,
            mx.concatenate([state.changes, rows]),
            np.concatenate([state.adds, columns], axis=1),
        )
        mlp = self._mlp(within if self._model.sequential[layer] else state, layer)
        change = self._corrupted[Point(layer, C.MLP)] - mlp
        return _State(
            middle + mlp,
            mx.concatenate([within.changes, change]),
            np.concatenate([within.adds, self._mlp_columns(layer, patched)], axis=1),
        )

    def _attention(self, state: _State, layer: int) -> tuple[mx.array, mx.array]:
        """What attention adds, ``[1, seq, hidden]``, and its heads' outputs."""
        inside = {}
        for kind, component in READ_BY.items():
            point = Point(layer, component)
            streams, which = self._read(state, self._model.graph.of_layer(layer, kind))
            (values,) = self._blocks.run(layer, streams, {}, [point])
            units = mx.arange(values.shape[1])
            inside[point] = values[mx.array(which), units][None]
        points = [Point(layer, C.ATTENTION), Point(layer, C.HEAD_OUTPUT)]
        attention, heads = self._blocks.run(layer, state.stream, inside, points)
        return attention, heads

    def _mlp(self, state: _State, layer: int) -> mx.array:
        point = Point(layer, C.MLP)
        streams, _ = self._read(state, self._model.graph.of_layer(layer, "mlp"))
        middle = {Point(layer, C.RESIDUAL_MID): streams} if self._model.sequential[layer] else {}
        return self._blocks.run(layer, streams, middle, [point])[0]

    def _head_rows(
        self,
        state: _State,
        layer: int,
        patched: np.ndarray,
        heads: mx.array,
        attention: mx.array,
    ) -> mx.array:
        """What attention adds with heads of the corrupted prompt, less what it adds: by head, or by
        set of heads where it is no sum."""
        point = Point(layer, C.HEAD_OUTPUT)
        corrupted = self._corrupted[point]
        if self._model.linear[layer]:
            values = one_by_one(heads, corrupted)
        else:
            sets, _ = self._sets(layer, patched)
            values = mx.where(mx.array(sets)[:, :, None, None], corrupted, heads)
        added = self._blocks.run(layer, state.stream, {point: values}, [Point(layer, C.ATTENTION)])
        return added[0] - attention

    def _head_columns(self, layer: int, patched: np.ndarray) -> np.ndarray:
        """Which of these rows each destination adds."""
        if self._model.linear[layer]:
            return patched[:, self._head_places(layer)]
        sets, which = self._sets(layer, patched)
        return np.arange(len(sets))[None] == which[:, None]

    def _sets(self, layer: int, patched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct sets of a layer's heads that destinations read from the corrupted prompt,
        ``[sets, heads]``, and which of them each destination reads."""
        sets, which = np.unique(patched[:, self._head_places(layer)], axis=0, return_inverse=True)
        return sets, which.reshape(-1)

    def _mlp_columns(self, layer: int, patched: np.ndarray) -> np.ndarray:
        place = self._head_places(layer).stop
        return patched[:, place : place + 1]

    def _head_places(self, layer: int) -> slice:
        graph = self._model.graph
        first = graph.first_head[layer]
        return slice(first, first + graph.heads[layer])

    # --- the end -----------------------------------------------------------------------------

    def _logits(self, stream: mx.array) -> mx.array:
        """The logits of the last position, ``[1, 1, vocab]``, or of all."""
        structure = self._kit.structure
        visitors = {Point(len(self._model.layers) - 1, C.RESIDUAL): lambda value, span: stream}
        if FINAL_NORM_INPUT in structure.shapes:
            visitors[FINAL_NORM_INPUT] = lambda value, span: value[:, -1:]
        with observed(structure, visitors):
            return structure.logits(mx.array([list(self._task.clean)]))


def layer_of(model: EdgeModel, destinations: Sequence[int]) -> int:
    """The first layer of some destinations, by their places; the logits are behind the last."""
    behind = len(model.layers)
    layers = [model.graph.destinations[place].layer for place in destinations]
    return min((behind if layer is None else layer for layer in layers), default=behind)
