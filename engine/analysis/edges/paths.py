"""Path patching: what senders do to receivers directly, measured exactly.

One pass over the clean prompt has the senders' values of the corrupted one, and every other head's
value of the clean one; what the receivers read is kept. Another pass over the clean prompt has the
receivers read that, and its score says what the paths from the senders to the receivers carry (Wang
et al. 2022, arXiv:2211.00593, whose MLPs calculate anew on the way; Goldowsky-Dill et al. 2023,
arXiv:2304.05969, who hold them too, so that the edges alone count).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import mlx.core as mx
import numpy as np

from engine.analysis.circuits import Progress, as_tasks
from engine.analysis.edges.blocks import Blocks
from engine.analysis.edges.graph import Node
from engine.analysis.edges.model import EMBEDDING, EdgeModel, edge_model
from engine.analysis.task import Task
from engine.components import PER_HEAD
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, NotFiniteError
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor
from engine.turns import give_way

Held = Literal["heads", "heads_and_mlps"]
MOST_ROWS = 8
"""Sets of senders that are run at once, where they fit into memory."""


@dataclass(frozen=True)
class PathEffects:
    """The scores with each set of senders' paths patched, ``[examples, sets]``, and the mean over
    the examples of score less clean score, ``[sets]``, in units of the task's score."""

    clean_scores: list[float]
    corrupted_scores: list[float]
    scores: np.ndarray

    @property
    def effects(self) -> np.ndarray:
        """The changes of the score, ``[sets]``: negative where the paths carry the behaviour."""
        return (self.scores - np.array(self.clean_scores)[:, None]).mean(0)


@gaps_explained()
def patch_paths(
    kit: ModelKit,
    tasks: Task | Sequence[Task],
    senders: Sequence[Sequence[str]],
    receivers: Sequence[str],
    *,
    held: Held = "heads_and_mlps",
    progress: Progress = lambda done, total: None,
) -> PathEffects:
    """Patch the paths from each set of senders, by the names of `Graph`, to the receivers together.

    `held` says what keeps its clean value between them. Raises InvalidRequestError for names that
    are no nodes, UnsupportedOperationError, NotFiniteError, NotEnoughMemoryError.
    """
    if held not in get_args(Held):
        raise InvalidRequestError(f"held: {held!r} is none of {', '.join(get_args(Held))}")
    tasks = as_tasks(tasks)
    for task in tasks:
        task.check(kit)
    model = edge_model(kit)
    graph = model.graph
    if not senders or not all(senders) or not receivers:
        raise InvalidRequestError("senders and receivers: at least one of each is needed")
    sent = [[graph.sources[graph.source(name)] for name in each] for each in senders]
    read = [graph.destinations[graph.destination(name)] for name in receivers]
    scores, clean_scores, corrupted_scores = [], [], []
    done, total = 0, len(tasks) * len(senders)
    progress(done, total)
    for task in tasks:
        paths = _Paths(kit, model, task, held)
        clean_scores.append(paths.clean_score)
        corrupted_scores.append(paths.corrupted_score)
        found: list[float] = []
        rows = paths.rows(len(senders))
        for first in range(0, len(senders), rows):
            found += paths.scores(sent[first : first + rows], read)
            done += len(sent[first : first + rows])
            progress(done, total)
        scores.append(found)
    return PathEffects(clean_scores, corrupted_scores, np.array(scores))


class _Paths:
    """The passes over a task's two prompts, and those with paths patched."""

    def __init__(self, kit: ModelKit, model: EdgeModel, task: Task, held: Held):
        self._kit, self._model, self._task, self._held = kit, model, task, held
        self._values = [EMBEDDING, *model.points(C.HEAD_OUTPUT, C.MLP)]
        kit.footprint.longest_pass(
            1,
            len(task.clean),
            kept=2 * kit.footprint.of_values(self._values, 1, len(task.clean)),
            can_be_cut=False,
        )
        clean, corrupted = (Blocks(kit, t, self._values) for t in (task.clean, task.corrupted))
        self._clean, self._corrupted = clean.values, corrupted.values
        self.clean_score, self.corrupted_score = (
            float(np.array(task.score(each.logits))[0]) for each in (clean, corrupted)
        )

    def rows(self, sets: int) -> int:
        """How many sets are run at once."""
        rows = min(MOST_ROWS, sets)
        while rows > 1 and not self._kit.footprint.fits(rows, len(self._task.clean)):
            rows //= 2
        return rows

    def scores(self, senders: Sequence[Sequence[Node]], receivers: Sequence[Node]) -> list[float]:
        """The score with each set of senders' paths to the receivers patched."""
        read = self._read(senders, {_read_at(node, self._last) for node in receivers})
        visitors: dict[Point, Visitor] = {}
        for point, values in read.items():
            units = [node.unit for node in receivers if _read_at(node, self._last) == point]
            visitors[point] = _with_units(values, units, point)
        with observed(self._kit.structure, visitors):
            logits = self._kit.structure.logits(self._tokens(len(senders)))
        found = np.array(self._task.score(logits))
        give_way()
        if not np.isfinite(found).all():
            raise NotFiniteError("a score is NaN or infinite: load the model in float32")
        return found.tolist()

    @property
    def _last(self) -> int:
        return len(self._model.layers) - 1

    def _tokens(self, rows: int) -> mx.array:
        return mx.array([list(self._task.clean)] * rows)

    def _read(self, senders: Sequence[Sequence[Node]], points: set[Point]) -> dict[Point, mx.array]:
        """What is read at some points where the senders send what they do over the corrupted prompt
        and all else that is held keeps its clean value."""
        seen: dict[Point, mx.array] = {}
        visitors: dict[Point, Visitor] = {}
        for point in self._values:
            mask = np.stack([self._mask(point, each) for each in senders])
            if point.component is C.MLP and self._held == "heads":
                visitors[point] = _replacing(mask, self._corrupted[point], None)
            else:
                visitors[point] = _replacing(mask, self._corrupted[point], self._clean[point])
        for point in points:
            visitors[point] = _looking(point, seen, visitors.get(point))
        with observed(self._kit.structure, visitors):
            self._kit.structure.logits(self._tokens(len(senders)))
        return seen

    def _mask(self, point: Point, senders: Sequence[Node]) -> np.ndarray:
        """True where senders are, in the shape of a value's heads, or of all of it."""
        heads = self._clean[point].shape[1] if point.component is C.HEAD_OUTPUT else 1
        mask = np.zeros((heads, 1, 1) if point.component is C.HEAD_OUTPUT else (1, 1), bool)
        for node in senders:
            if _written_at(node) == point:
                mask[0 if node.unit is None else node.unit] = True
        return mask


def _written_at(node: Node) -> Point:
    """Where the value of a source is."""
    if node.kind == "input":
        return EMBEDDING
    return Point(node.layer, C.HEAD_OUTPUT if node.kind == "head" else C.MLP)


def _read_at(node: Node, last: int) -> Point:
    """Where what a destination calculates of its stream alone is."""
    if node.kind == "logits":
        return Point(last, C.RESIDUAL)
    return Point(node.layer, C(node.kind))


def _replacing(mask: np.ndarray, values: mx.array, others: mx.array | None) -> Visitor:
    """A visitor that puts `values` where the mask is true, and `others` elsewhere; None leaves what
    is there."""
    where = mx.array(mask)

    def visit(value: mx.array, span: Span) -> mx.array:
        return mx.where(where, values, value if others is None else others)

    return visit


def _looking(point: Point, seen: dict[Point, mx.array], then: Visitor | None) -> Visitor:
    """A visitor that keeps what was calculated, before another one replaces it."""

    def visit(value: mx.array, span: Span) -> mx.array:
        seen[point] = value
        return value if then is None else then(value, span)

    return visit


def _with_units(values: mx.array, units: Sequence[int | None], point: Point) -> Visitor:
    """A visitor that puts in the values of some heads, or of all that there is."""
    if point.component not in PER_HEAD:
        return lambda value, span: values
    mask = np.zeros((values.shape[1], 1, 1), bool)
    mask[[unit for unit in units if unit is not None]] = True
    return _replacing(mask, values, None)
