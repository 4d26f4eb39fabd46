"""How well circuits of edges do by themselves what the whole model does: faithfulness curves.

A circuit of n edges keeps the n first of a ranking; what all other edges carry comes from the
corrupted prompt. Its *faithfulness* is (score - corrupted score) / (clean score - corrupted score)
of the mean scores over the examples: 1 where the circuit does all of it, 0 where nothing. Over the
share of the edges that is kept, from 0 to 1, two areas say how good a ranking is (Mueller et al.
2025, arXiv:2504.13151): *cpr*, under the curve, the larger the better; and *cmd*, between the curve
and 1, the smaller the better. Both are by the trapezoid rule, with the faithfulness of no edge and
of all edges at the ends.

Random circuits of as many edges say what such a figure is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.analysis.circuits import Progress, as_tasks
from engine.analysis.edges.attribution import check_memory
from engine.analysis.edges.graph import Edge
from engine.analysis.edges.model import edge_model
from engine.analysis.edges.patched import CircuitRuns
from engine.analysis.task import Task
from engine.errors import InvalidRequestError
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Shares of all edges that are kept, if nobody says otherwise."""


@dataclass(frozen=True)
class Faithfulness:
    """The faithfulness of circuits of so many edges, ``[sizes]``, and of random circuits of as
    many, ``[random, sizes]``; `scores` are the means over the examples, in units of the task's."""

    sizes: list[int]
    edges: int
    clean_score: float
    corrupted_score: float
    scores: np.ndarray
    random_scores: np.ndarray

    @property
    def faithfulness(self) -> np.ndarray:
        """Of the circuits of the ranking, ``[sizes]``."""
        return self._share(self.scores)

    @property
    def random_faithfulness(self) -> np.ndarray:
        """Of the random circuits, ``[random, sizes]``."""
        return self._share(self.random_scores)

    @property
    def cpr(self) -> float:
        """The area under the curve."""
        return self._area(self.faithfulness)

    @property
    def cmd(self) -> float:
        """The area between the curve and 1."""
        return self._area(np.abs(1 - self.faithfulness), ends=(1.0, 0.0))

    def _share(self, scores: np.ndarray) -> np.ndarray:
        return (scores - self.corrupted_score) / (self.clean_score - self.corrupted_score)

    def _area(self, values: np.ndarray, ends: tuple[float, float] = (0.0, 1.0)) -> float:
        inner = [
            (size / self.edges, value)
            for size, value in sorted(zip(self.sizes, values.tolist(), strict=True))
            if 0 < size < self.edges
        ]
        shares, heights = zip((0.0, ends[0]), *inner, (1.0, ends[1]), strict=True)
        return float(np.trapezoid(heights, shares))


@gaps_explained()
def faithfulness(
    kit: ModelKit,
    tasks: Task | Sequence[Task],
    ranking: Sequence[Edge],
    *,
    sizes: Sequence[int] | None = None,
    random: int = 0,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> Faithfulness:
    """Measure circuits of the first edges of a ranking, and `random` ones of each size, drawn from
    all edges with `seed`.

    `sizes` None are `SHARES` of all edges, as far as the ranking goes. Raises InvalidRequestError
    for edges that do not exist, sizes beyond the ranking, or prompts whose scores do not differ,
    and what `edge_scores` raises.
    """
    tasks = as_tasks(tasks)
    for task in tasks:
        task.check(kit)
    model = edge_model(kit)
    graph = model.graph
    graph.mask(ranking)
    count = int(graph.edges.sum())
    chosen = _sizes(sizes, len(ranking), count)
    if random < 0:
        raise InvalidRequestError(f"random: {random} is less than 0")
    circuits = [graph.mask(ranking[:size]) for size in chosen]
    draws = np.random.default_rng(seed)
    places = np.argwhere(graph.edges)
    for _ in range(random):
        order = draws.permutation(places)
        for size in chosen:
            mask = np.zeros_like(graph.edges)
            mask[tuple(order[:size].T)] = True
            circuits.append(mask)
    scores = np.zeros((len(tasks), len(circuits)))
    ends, done, total = [], 0, scores.size
    progress(done, total)
    for number, task in enumerate(tasks):
        check_memory(kit, model, len(task.clean))
        runs = CircuitRuns(kit, model, task)
        ends.append((runs.clean_score, runs.corrupted_score))
        for place, circuit in enumerate(circuits):
            scores[number, place] = runs.run(circuit).score
            done += 1
            progress(done, total)
    clean, corrupted = np.mean(ends, axis=0)
    if clean == corrupted:
        raise InvalidRequestError(
            f"both prompts score {clean}: without a difference there is nothing to share out"
        )
    means = scores.mean(0).reshape(1 + random, len(chosen))
    return Faithfulness(chosen, count, float(clean), float(corrupted), means[0], means[1:])


def _sizes(sizes: Sequence[int] | None, ranked: int, count: int) -> list[int]:
    if sizes is None:
        usual = sorted({max(1, round(share * count)) for share in SHARES})
        chosen = [size for size in usual if size <= ranked] or [ranked]
    else:
        chosen = list(sizes)
    for size in chosen:
        if not 0 <= size <= ranked:
            raise InvalidRequestError(
                f"sizes: {size} is not between 0 and the {ranked} edges given"
            )
    if not chosen or len(set(chosen)) < len(chosen):
        raise InvalidRequestError("sizes: at least one is needed, and each once")
    return chosen
