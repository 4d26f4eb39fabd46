"""Estimates of what each node is worth: attribution patching with AtP*'s corrections.

The score of a node is an estimate of how much the task's score changes over the clean prompt if
the node alone has its value over the corrupted prompt: the difference of the values times the
gradient there (AtP). Two corrections are Kramár et al.'s (2024, arXiv:2403.00745):

- *QK fix*: with other queries or keys the softmax is far from linear. Their scores are the
  difference of the attention pattern that they make, calculated exactly, times the gradient at the
  pattern; of keys that a group of heads shares, over all heads of the group.
- *GradDrop*: ways from a node to the score may cancel each other. For each layer in turn, the
  gradient through what the layer adds to the residual stream is dropped; the mean of the absolute
  scores, over one layer less than there are, is the node's magnitude.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.analysis.circuits import Progress, as_tasks
from engine.analysis.edges.attribution import check_memory
from engine.analysis.edges.blocks import Blocks
from engine.analysis.edges.graph import Node
from engine.analysis.edges.model import EMBEDDING, EdgeModel, edge_model
from engine.analysis.gradients import gradients
from engine.analysis.task import Task
from engine.components import ComponentType as C
from engine.errors import NotFiniteError
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.taps.points import Point

SOFTMAX = (C.QUERY, C.KEY)


@dataclass(frozen=True)
class NodeScores:
    """Scores of nodes, and with GradDrop their magnitudes, ``[nodes]`` in units of the task's
    score: the means over the examples. Passes are of the whole model over one prompt."""

    nodes: list[Node]
    scores: np.ndarray
    magnitudes: np.ndarray | None
    clean_scores: list[float]
    corrupted_scores: list[float]
    forward_passes: int
    backward_passes: int


@gaps_explained()
def node_scores(
    kit: ModelKit,
    tasks: Task | Sequence[Task],
    *,
    qk_fix: bool = True,
    grad_drop: bool = True,
    progress: Progress = lambda done, total: None,
) -> NodeScores:
    """Estimate what the queries, keys and values of each head or group, what each head puts out
    and each MLP writes are worth.

    GradDrop takes a forward and a backward pass for each layer. Raises what `edge_scores` does.
    """
    tasks = as_tasks(tasks)
    for task in tasks:
        task.check(kit)
    model = edge_model(kit)
    layers = len(model.layers)
    drops: list[int | None] = [None, *(model.layers if grad_drop and layers > 1 else ())]
    done, total = 0, len(tasks) * (2 + len(drops))
    progress(done, total)
    nodes = _nodes(model)
    scores, magnitudes = np.zeros(len(nodes)), np.zeros(len(nodes))
    ends = []
    for task in tasks:
        check_memory(kit, model, len(task.clean))
        pair = _Pair(kit, model, task, qk_fix)
        ends.append(pair.ends)
        done += 2
        progress(done, total)
        for drop in drops:
            found = pair.scores(drop)
            if drop is None:
                scores += found / len(tasks)
            else:
                magnitudes += np.abs(found) / (layers - 1) / len(tasks)
            done += 1
            progress(done, total)
    return NodeScores(
        nodes,
        scores,
        magnitudes if len(drops) > 1 else None,
        [clean for clean, _ in ends],
        [corrupted for _, corrupted in ends],
        forward_passes=total,
        backward_passes=len(tasks) * len(drops),
    )


def _nodes(model: EdgeModel) -> list[Node]:
    """The destinations of attention, and the sources in layers."""
    graph = model.graph
    read = [node for node in graph.destinations if node.kind not in ("mlp", "logits")]
    return [*read, *(node for node in graph.sources if node.kind != "input")]


class _Pair:
    """The runs over a task's two prompts, and the differences of the nodes' values."""

    def __init__(self, kit: ModelKit, model: EdgeModel, task: Task, qk_fix: bool):
        self._kit, self._model, self._task, self._qk_fix = kit, model, task, qk_fix
        points = model.points(C.QUERY, C.KEY, C.VALUE, C.HEAD_OUTPUT, C.MLP)
        wanted = [EMBEDDING, *points, *model.points(C.RESIDUAL)]
        if qk_fix:
            wanted += model.points(C.ATTENTION_PATTERN)
        clean, corrupted = (Blocks(kit, t, wanted) for t in (task.clean, task.corrupted))
        self.ends = tuple(
            float(np.array(task.score(each.logits))[0]) for each in (clean, corrupted)
        )
        self._changes: dict[Point, mx.array] = {}
        for point in points:
            change = corrupted.values[point] - clean.values[point]
            if qk_fix and point.component in SOFTMAX:
                change = self._pattern_change(clean, point, corrupted.values[point])
            self._changes[point] = change
        mx.eval(self._changes)

    def scores(self, dropped: int | None) -> np.ndarray:
        """The estimates for all nodes, with the gradient through one layer dropped."""
        patterns = self._model.points(C.ATTENTION_PATTERN) if self._qk_fix else []
        plain = [p for p in self._changes if not (self._qk_fix and p.component in SOFTMAX)]
        stopped = () if dropped is None else (Point(dropped, C.ATTENTION), Point(dropped, C.MLP))
        found = gradients(
            self._kit,
            mx.array([list(self._task.clean)]),
            [*plain, *patterns],
            lambda logits: self._task.score(logits).sum(),
            stopped=stopped,
        ).gradients
        products: dict[Point, np.ndarray] = {}
        for point, change in self._changes.items():
            layer, component = point.in_layer, point.component
            of_pattern = self._qk_fix and component in SOFTMAX
            at = Point(layer, C.ATTENTION_PATTERN) if of_pattern else point
            product = (found[at] * change).astype(mx.float32)
            if component is C.MLP:
                products[point] = np.array(product.sum())[None]
                continue
            by_unit = np.array(product.sum((0, 2, 3)))
            units = self._kit.structure.heads(layer, component)
            products[point] = by_unit.reshape(units, -1).sum(-1)
        scores = np.array([_of(node, products) for node in _nodes(self._model)], np.float64)
        if not np.isfinite(scores).all():
            raise NotFiniteError("a gradient is NaN or infinite: load the model in float32")
        return scores

    def _pattern_change(self, clean: Blocks, point: Point, value: mx.array) -> mx.array:
        """The pattern of each head with its query, or its key, of the corrupted prompt, less its
        own, ``[1, heads, query, key]``."""
        layer = point.in_layer
        stream = clean.values[EMBEDDING if layer == 0 else Point(layer - 1, C.RESIDUAL)]
        pattern = Point(layer, C.ATTENTION_PATTERN)
        (changed,) = clean.run(layer, stream, {point: value}, [pattern])
        return changed - clean.values[pattern]


def _of(node: Node, products: dict[Point, np.ndarray]) -> float:
    component = C.HEAD_OUTPUT if node.kind == "head" else C(node.kind)
    return float(products[Point(node.layer, component)][node.unit or 0])
