"""Whether a circuit does what the whole model does: faithfulness, completeness, minimality.

After Wang et al. 2022, arXiv:2211.00593. A circuit C is a set of parts of a model M, all parts of
the components that C is made of, in all layers and at all positions. F(X) is the score, the mean
over the examples' clean prompts, in logits, with all parts outside of X ablated. Then

- *faithfulness* is |F(M) - F(C)|, in logits: small, if C does by itself what M does. As a share it
  is (F(C) - F(none)) / (F(M) - F(none)), 1 for a faithful circuit, with F(none) the score with all
  parts ablated (Marks et al. 2024, arXiv:2403.19647);
- the *incompleteness* of C by a subset K of it is |F(C without K) - F(M without K)|, in logits.
  C is complete if it is small for all K; otherwise M has parts outside of C that do what K does;
- a part v is needed, as far as a subset K of C without v shows, by
  |F(C without K and v) - F(C without K)|, in logits. C is *minimal* if for each v there is a K
  that shows that it is needed.

There are too many subsets to try all of them. Tried are, for completeness, each part by itself,
and random ones that have each part with a probability of a half; for minimality, the empty one, all
other parts, and the random ones without v. The largest values found are lower bounds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from engine.analysis.ablation import AblatedValues, Ablation
from engine.analysis.circuits import BATCH_BYTES, Progress, as_tasks
from engine.analysis.parts import (
    CircuitPart,
    Masks,
    Part,
    check_component,
    masks_of,
    points_of,
    resolved,
)
from engine.analysis.patching import Run, patched_scores, run
from engine.analysis.task import Task
from engine.components import ComponentType
from engine.errors import InvalidRequestError
from engine.runs.kit import ModelKit
from engine.taps.points import Point

Value = TypeVar("Value")
Subset = tuple[int, ...]
"""Parts of a circuit by their numbers, from 0, in rising order."""

CONTAINED = (
    (ComponentType.HEAD_OUTPUT, ComponentType.ATTENTION),
    (ComponentType.MLP_HIDDEN, ComponentType.MLP),
)
"""Components of which one is calculated from the other alone: only one can be ablated."""


@dataclass(frozen=True)
class Completeness:
    """A subset K of a circuit C, F(C without K), F(M without K), and |their difference|."""

    subset: Subset
    circuit_score: float
    model_score: float
    incompleteness: float


@dataclass(frozen=True)
class Minimality:
    """A part v of a circuit, and of the subsets K that were tried the one by which v is needed
    most: F(C without K), F(C without K and v), and |their difference|."""

    part: int
    subset: Subset
    score_with: float
    score_without: float
    minimality: float


@dataclass(frozen=True)
class Verification:
    """What a circuit does by itself, in logits; the definitions are the module's.

    `faithfulness_share` is None if ablating all parts does not change the score.
    """

    model_score: float
    circuit_score: float
    empty_score: float
    faithfulness: float
    faithfulness_share: float | None
    completeness: list[Completeness]
    minimality: list[Minimality]

    @property
    def incompleteness(self) -> float:
        """The largest one found."""
        return max(each.incompleteness for each in self.completeness)


def verify_circuit(
    kit: ModelKit,
    tasks: Task | Sequence[Task],
    circuit: Sequence[CircuitPart],
    *,
    ablation: Ablation | None = None,
    subsets: int = 10,
    seed: int = 0,
    batch_bytes: int = BATCH_BYTES,
    progress: Progress = lambda done, total: None,
) -> Verification:
    """Put a circuit to the three tests above, with so many random `subsets` drawn with `seed`.

    `ablation` None is mean ablation over the corrupted prompts. Raises InvalidRequestError for no
    parts, a part that is given twice, or components of which one is calculated from another, and
    what `engine.analysis.circuits.patch_sets` raises.
    """
    tasks = as_tasks(tasks)
    for task in tasks:
        task.check(kit)
    components = _components(circuit)
    if subsets < 0:
        raise InvalidRequestError(f"subsets: {subsets} is less than 0")
    points = [point for component in components for point in points_of(kit, component, None)]
    parts = tuple(range(len(circuit)))
    random = _random_subsets(len(circuit), subsets, seed)
    removed = _distinct([*((part,) for part in parts), *random])
    others = {
        part: _distinct([(), _without(parts, part), *(_without(k, part) for k in random)])
        for part in parts
    }
    outside = [(), parts, *removed]
    outside += [each for v in parts for k in others[v] for each in (k, _with(k, v))]
    knockouts = [*((True, k) for k in _distinct(outside)), *((False, k) for k in removed)]
    scores = _Knockouts(kit, tasks, circuit, points, ablation or Ablation("mean"))
    found = dict(zip(knockouts, scores.of(knockouts, batch_bytes, progress), strict=True))
    model, of_circuit, none = scores.model_score, found[True, ()], found[True, parts]
    return Verification(
        model_score=model,
        circuit_score=of_circuit,
        empty_score=none,
        faithfulness=abs(model - of_circuit),
        faithfulness_share=None if model == none else (of_circuit - none) / (model - none),
        completeness=[
            Completeness(k, found[True, k], found[False, k], abs(found[True, k] - found[False, k]))
            for k in removed
        ],
        minimality=[
            max(
                (
                    Minimality(v, k, with_v, without_v, abs(without_v - with_v))
                    for k in others[v]
                    for with_v, without_v in [(found[True, k], found[True, _with(k, v)])]
                ),
                key=lambda each: each.minimality,
            )
            for v in parts
        ],
    )


Knockout = tuple[bool, Subset]
"""Parts of a circuit, ablated by themselves, or with all that is outside of the circuit (True)."""


class _Knockouts:
    """Scores over the clean prompts of tasks with parts of a model ablated."""

    def __init__(
        self,
        kit: ModelKit,
        tasks: Sequence[Task],
        circuit: Sequence[CircuitPart],
        points: Sequence[Point],
        ablation: Ablation,
    ):
        self._kit, self._tasks, self._circuit, self._points = kit, tasks, circuit, points
        lengths = [len(task.clean) for task in tasks]
        corrupted = [task.corrupted for task in tasks]
        self._ablated = AblatedValues(kit, ablation, points, corrupted, lengths)
        self._bases = [run(kit, task.clean, points, task.score) for task in tasks]
        self._total = sum(map(self._ablated.passes, lengths))
        self.model_score = float(np.mean([base.score for base in self._bases]))

    def of(
        self, knockouts: Sequence[Knockout], batch_bytes: int, progress: Progress
    ) -> list[float]:
        """The mean score over the tasks with each of some knockouts."""
        means, done, total = np.zeros(len(knockouts)), 0, self._total * len(knockouts)
        progress(done, total)
        for number, (task, base) in enumerate(zip(self._tasks, self._bases, strict=True)):
            parts = self._resolved(base)
            changes = self._ablated.of(base, number)
            for values in changes:
                rows = (self._masks(base, parts, knockout) for knockout in knockouts)
                found: list[float] = []
                for batch in patched_scores(self._kit, base, rows, values, task.score, batch_bytes):
                    found.extend(batch)
                    done += len(batch)
                    progress(done, total)
                means += np.array(found, np.float64) / len(changes)
        return (means / len(self._tasks)).tolist()

    def _resolved(self, base: Run) -> list[Part]:
        parts = [resolved(self._kit, part, len(base.tokens)) for part in self._circuit]
        together = masks_of(parts, base.shapes)
        alone = [mask.sum() for part in parts for mask in masks_of([part], base.shapes).values()]
        if sum(alone) != sum(mask.sum() for mask in together.values()):
            raise InvalidRequestError("circuit: a part is given twice, or contains another")
        return parts

    def _masks(self, base: Run, parts: Sequence[Part], knockout: Knockout) -> Masks:
        with_all_outside, subset = knockout
        if not with_all_outside:
            return masks_of((parts[number] for number in subset), base.shapes)
        kept = [part for number, part in enumerate(parts) if number not in subset]
        inside = masks_of(kept, base.shapes)
        positions = tuple(range(len(base.tokens)))
        whole = masks_of((Part(point, None, positions) for point in self._points), base.shapes)
        return {p: mask & ~inside[p] if p in inside else mask for p, mask in whole.items()}


def _components(circuit: Sequence[CircuitPart]) -> list[ComponentType]:
    """The components that the parts are of, each once."""
    if not circuit:
        raise InvalidRequestError("circuit: at least one part is needed")
    components = _distinct([check_component(part.component) for part in circuit])
    for one, whole in CONTAINED:
        if one in components and whole in components:
            raise InvalidRequestError(
                f"circuit: {whole} is calculated from {one}; a circuit has parts of one of them"
            )
    if ComponentType.RESIDUAL in components and len(components) > 1:
        raise InvalidRequestError(
            "circuit: residual contains what all other components add; a circuit has parts of "
            "it, or of others"
        )
    return components


def _random_subsets(parts: int, count: int, seed: int) -> list[Subset]:
    """Subsets that have each part with a probability of a half."""
    drawn = np.random.default_rng(seed).random((count, parts)) < 0.5
    return [tuple(np.flatnonzero(row).tolist()) for row in drawn]


def _without(subset: Subset, part: int) -> Subset:
    return tuple(each for each in subset if each != part)


def _with(subset: Subset, part: int) -> Subset:
    return tuple(sorted({*subset, part}))


def _distinct(values: Iterable[Value]) -> list[Value]:
    return list(dict.fromkeys(values))
