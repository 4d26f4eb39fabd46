"""Pruning a circuit edge by edge, as ACDC does (Conmy et al. 2023, arXiv:2304.14997).

From the logits back to the input, each edge of a circuit is patched with what it carries over the
corrupted prompt. If that takes the circuit less than a threshold further away from the whole model,
the edge stays patched. How far away a circuit is, is the mean over the examples of either

- *score*: the absolute difference of its score to the clean one; or
- *kl*: the Kullback-Leibler divergence, in nats, of its probabilities of the next token from the
  whole model's.

The circuit that is begun with may be all edges, which take a run each, or the best of a ranking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import mlx.core as mx
import numpy as np

from engine.analysis.circuits import Progress, as_tasks
from engine.analysis.edges.attribution import check_memory
from engine.analysis.edges.graph import Edge
from engine.analysis.edges.model import edge_model
from engine.analysis.edges.patched import CircuitRun, CircuitRuns, layer_of
from engine.analysis.probabilities import log_probabilities
from engine.analysis.task import Task
from engine.errors import InvalidRequestError
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit

Distance = Literal["score", "kl"]


@dataclass(frozen=True)
class Pruned:
    """What is left of a circuit, in the order of the pass, and how much further away the circuit
    was with each of these edges patched. Distances are in units of the task's score, or in nats;
    scores are the means over the examples."""

    edges: list[Edge]
    increases: list[float]
    tried: int
    distance: float
    score: float
    clean_score: float
    corrupted_score: float


@gaps_explained()
def prune(
    kit: ModelKit,
    tasks: Task | Sequence[Task],
    threshold: float,
    *,
    edges: Sequence[Edge] | None = None,
    distance: Distance = "kl",
    progress: Progress = lambda done, total: None,
) -> Pruned:
    """Prune the circuit of some edges (None: of all) as the module says; `progress` counts edges.

    Raises InvalidRequestError, and what `edge_scores` raises.
    """
    if distance not in get_args(Distance):
        raise InvalidRequestError(
            f"distance: {distance!r} is none of {', '.join(get_args(Distance))}"
        )
    if threshold < 0:
        raise InvalidRequestError(f"threshold: {threshold} is less than 0")
    tasks = as_tasks(tasks)
    for task in tasks:
        task.check(kit)
        check_memory(kit, edge_model(kit), len(task.clean))
    model = edge_model(kit)
    kept = model.graph.edges.copy() if edges is None else model.graph.mask(edges)
    candidates = [(int(d), int(s)) for d, s in np.argwhere(kept)[::-1]]
    runs = [CircuitRuns(kit, model, task) for task in tasks]
    now = [each.run(kept) for each in runs]
    away = _distance(runs, now, distance)
    increases: dict[tuple[int, int], float] = {}
    progress(0, len(candidates))
    for number, place in enumerate(candidates):
        kept[place] = False
        layer = layer_of(model, [place[0]])
        found = [each.run(kept, before, layer) for each, before in zip(runs, now, strict=True)]
        further = _distance(runs, found, distance) - away
        if further < threshold:
            now, away = found, away + further
        else:
            kept[place] = True
            increases[place] = further
        progress(number + 1, len(candidates))
    left = sorted(increases)
    return Pruned(
        edges=[model.graph.named(place) for place in left],
        increases=[increases[place] for place in left],
        tried=len(candidates),
        distance=away,
        score=float(np.mean([each.score for each in now])),
        clean_score=float(np.mean([each.clean_score for each in runs])),
        corrupted_score=float(np.mean([each.corrupted_score for each in runs])),
    )


def _distance(
    runs: Sequence[CircuitRuns], found: Sequence[CircuitRun], distance: Distance
) -> float:
    """How far circuits are away from the whole model, the mean over the examples."""
    if distance == "score":
        pairs = zip(runs, found, strict=True)
        return float(np.mean([abs(run.score - each.clean_score) for each, run in pairs]))
    return float(
        np.mean(
            [
                _divergence(each.clean_logits, run.logits)
                for each, run in zip(runs, found, strict=True)
            ]
        )
    )


def _divergence(whole: mx.array, circuit: mx.array) -> float:
    """The Kullback-Leibler divergence of the probabilities ``[vocab]`` of a circuit from the
    model's, in float64 from the logarithms on."""
    logs = [np.array(log_probabilities(each), np.float64) for each in (whole, circuit)]
    return float((np.exp(logs[0]) * (logs[0] - logs[1])).sum())
