"""Estimates of what each edge is worth: edge attribution patching, plain and integrated.

The score of an edge is an estimate of how much the task's score changes over the clean prompt if
its destination alone reads what its source writes over the corrupted prompt. To first order that is
the difference of what the source writes, times the gradient of the score by what the destination
reads, summed over positions and the width of the residual stream.

- *eap* takes the gradient of the clean prompt's run (Nanda 2023; Syed et al. 2023,
  arXiv:2310.10348).
- *eap_ig* takes the mean of the gradients of `steps` runs, whose embeddings lie between those of
  the corrupted and of the clean prompt: k/steps of the way, for k from 1 to `steps` (Hanna et al.
  2024, arXiv:2403.17806).

The gradient by what a destination reads counts its own way into it alone, through the norm and the
projection that it has; of keys and values that a group of heads shares, that of the group. What a
head writes is the change of what its attention adds to the stream where this head alone has its
corrupted value: also where a norm comes behind the output projection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import mlx.core as mx
import numpy as np

from engine.analysis.circuits import Progress, as_tasks
from engine.analysis.edges.blocks import Blocks
from engine.analysis.edges.graph import Graph, Kind
from engine.analysis.edges.model import EMBEDDING, EdgeModel, edge_model
from engine.analysis.gradients import Gradients, gradients, missing_gradients_explained
from engine.analysis.task import Task
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, NotFiniteError
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.taps.points import Point
from engine.turns import give_way

EdgeMethod = Literal["eap", "eap_ig"]
STEPS = 5
READ_BY: dict[Kind, C] = {"query": C.QUERY, "key": C.KEY, "value": C.VALUE}


@dataclass(frozen=True)
class EdgeScores:
    """Scores of all edges, ``[destinations, sources]`` in float32 and in units of the task's
    score, the mean over the examples; 0 where there is no edge.

    `forward_passes` and `backward_passes` count passes of the whole model over one prompt.
    """

    graph: Graph
    scores: np.ndarray
    clean_scores: list[float]
    corrupted_scores: list[float]
    forward_passes: int
    backward_passes: int

    @property
    def clean_score(self) -> float:
        """The mean over the examples."""
        return float(np.mean(self.clean_scores))

    @property
    def corrupted_score(self) -> float:
        """The mean over the examples."""
        return float(np.mean(self.corrupted_scores))


@gaps_explained()
def edge_scores(
    kit: ModelKit,
    tasks: Task | Sequence[Task],
    *,
    method: EdgeMethod = "eap_ig",
    steps: int = STEPS,
    progress: Progress = lambda done, total: None,
) -> EdgeScores:
    """Estimate what each edge is worth, as the module says.

    `progress` counts passes. Raises UnsupportedOperationError for a model whose edges cannot be
    told apart, or that calculates without gradients; InvalidRequestError, UnequalPromptsError for
    tasks that cannot be compared; NotFiniteError, NotEnoughMemoryError.
    """
    if method not in get_args(EdgeMethod):
        raise InvalidRequestError(
            f"method: {method!r} is none of {', '.join(get_args(EdgeMethod))}"
        )
    if steps < 1:
        raise InvalidRequestError(f"steps: {steps} is not at least 1")
    tasks = as_tasks(tasks)
    for task in tasks:
        task.check(kit)
    model = edge_model(kit)
    shares = [1.0] if method == "eap" else [(step + 1) / steps for step in range(steps)]
    total, done = len(tasks) * (2 + len(shares)), 0
    progress(0, total)
    clean_scores, corrupted_scores = [], []
    scores = np.zeros(model.graph.edges.shape)
    for task in tasks:
        check_memory(kit, model, len(task.clean))
        pair = Pair(kit, model, task)
        clean_scores.append(pair.clean_score)
        corrupted_scores.append(pair.corrupted_score)
        done += 2
        progress(done, total)
        for share in shares:
            scores += pair.slopes(share) / (len(shares) * len(tasks))
            done += 1
            progress(done, total)
    return EdgeScores(
        model.graph,
        scores.astype(np.float32),
        clean_scores,
        corrupted_scores,
        forward_passes=total,
        backward_passes=len(tasks) * len(shares),
    )


def check_memory(kit: ModelKit, model: EdgeModel, length: int) -> None:
    """Raise NotEnoughMemoryError for prompts whose edges do not fit."""
    graph = model.graph
    written = len(graph.sources) * length * kit.structure.hidden_size * 4
    read = 3 * (max(graph.heads) + 2 * max(graph.groups)) * length * kit.structure.hidden_size * 4
    kit.footprint.check_edges(length, written=written, read=read)


class Pair:
    """The runs over a task's two prompts, and what each source writes otherwise in the corrupted
    one: `changes`, ``[sources, seq, hidden]`` in float32, each measured with all else clean."""

    def __init__(self, kit: ModelKit, model: EdgeModel, task: Task):
        self._kit, self._model, self._task = kit, model, task
        wanted = [
            EMBEDDING,
            *model.points(C.RESIDUAL, C.RESIDUAL_MID, C.HEAD_OUTPUT, C.ATTENTION, C.MLP),
        ]
        self._blocks = Blocks(kit, task.clean, wanted)
        corrupted = Blocks(kit, task.corrupted, wanted)
        self._clean, self._corrupted = self._blocks.values, corrupted.values
        self.clean_score, self.corrupted_score = (
            float(np.array(task.score(each.logits))[0]) for each in (self._blocks, corrupted)
        )
        for score in (self.clean_score, self.corrupted_score):
            if not np.isfinite(score):
                raise NotFiniteError("the score is NaN or infinite: load the model in float32")
        self.changes = self._changes()

    def slopes(self, share: float) -> np.ndarray:
        """The estimates by the gradients of a run whose embeddings are `share` of the way from the
        corrupted prompt's to the clean one's, ``[destinations, sources]``."""
        model, graph = self._model, self._model.graph
        start, end = self._corrupted[EMBEDDING], self._clean[EMBEDDING]
        given = {} if share == 1 else {EMBEDDING: start + share * (end - start)}
        points = [
            EMBEDDING,
            *model.points(C.QUERY, C.KEY, C.VALUE, C.RESIDUAL_MID, C.RESIDUAL),
        ]
        tokens = mx.array([list(self._task.clean)])
        found = gradients(
            self._kit, tokens, points, lambda logits: self._task.score(logits).sum(), given=given
        )
        slopes = np.zeros(graph.edges.shape)
        last = Point(len(model.layers) - 1, C.RESIDUAL)
        self._enter(slopes, slice(len(slopes) - 1, len(slopes)), found.gradients[last])
        for layer in model.layers:
            for kind, component in READ_BY.items():
                reads = self._attention_reads(found, layer, component)
                self._enter(slopes, graph.of_layer(layer, kind), reads)
            self._enter(slopes, graph.of_layer(layer, "mlp"), self._mlp_reads(found, layer))
            give_way()
        if not np.isfinite(slopes).all():
            raise NotFiniteError("a gradient is NaN or infinite: load the model in float32")
        return slopes

    def _changes(self) -> mx.array:
        rows = [self._corrupted[EMBEDDING] - self._clean[EMBEDDING]]
        for layer in self._model.layers:
            rows.append(self._head_changes(layer))
            mlp = Point(layer, C.MLP)
            rows.append(self._corrupted[mlp] - self._clean[mlp])
            mx.eval(rows[-2:])
            give_way()
        return mx.concatenate([row.astype(mx.float32) for row in rows])

    def _head_changes(self, layer: int) -> mx.array:
        """What the attention of a layer adds with one head's corrupted output less what it adds,
        ``[heads, seq, hidden]``."""
        point = Point(layer, C.HEAD_OUTPUT)
        clean, corrupted = self._clean[point], self._corrupted[point]
        stream = self._stream(self._clean, layer)
        (added,) = self._blocks.run(
            layer, stream, {point: one_by_one(clean, corrupted)}, [Point(layer, C.ATTENTION)]
        )
        return added - self._clean[Point(layer, C.ATTENTION)]

    def _attention_reads(self, found: Gradients, layer: int, component: C) -> mx.array:
        """The gradients by the stream as each head's, or group's, projection reads it,
        ``[units, seq, hidden]``."""
        point = Point(layer, component)
        gradient = found.gradients[point]
        units = gradient.shape[1]
        apart = mx.eye(units, dtype=gradient.dtype)[:, :, None, None] * gradient
        stream = self._stream(found.values, layer)
        rows = mx.broadcast_to(stream, (units, *stream.shape[1:]))
        with missing_gradients_explained(self._kit):
            _, (reads,) = mx.vjp(
                lambda streams: self._blocks.run(layer, streams, {}, [point]), [rows], [apart]
            )
        return reads

    def _mlp_reads(self, found: Gradients, layer: int) -> mx.array:
        """The gradient by the stream as the MLP reads it, ``[1, seq, hidden]``.

        All else that the stream goes into between attention and MLP is the end of the block.
        """
        behind = found.gradients[Point(layer, C.RESIDUAL)]
        if self._model.sequential[layer]:
            return found.gradients[Point(layer, C.RESIDUAL_MID)] - behind
        point = Point(layer, C.MLP)
        stream = self._stream(found.values, layer)
        with missing_gradients_explained(self._kit):
            _, (reads,) = mx.vjp(
                lambda streams: self._blocks.run(layer, streams, {}, [point]), [stream], [behind]
            )
        return reads

    def _stream(self, values: dict[Point, mx.array], layer: int) -> mx.array:
        """The residual stream as it enters a layer."""
        return values[EMBEDDING if layer == 0 else Point(layer - 1, C.RESIDUAL)]

    def _enter(self, slopes: np.ndarray, rows: slice, reads: mx.array) -> None:
        """Enter the products of gradients with what sources that are read write otherwise."""
        reach = int(self._model.graph.reach[rows.start])
        changes = self.changes[:reach].reshape(reach, -1)
        reads = reads.astype(mx.float32).reshape(reads.shape[0], -1)
        slopes[rows, :reach] = np.array(reads @ changes.T)


def one_by_one(values: mx.array, others: mx.array) -> mx.array:
    """Rows of head outputs ``[1, heads, seq, width]``, each with one head of `others`:
    ``[heads, heads, seq, width]``."""
    heads = values.shape[1]
    return mx.where(mx.eye(heads, dtype=mx.bool_)[:, :, None, None], others, values)
