"""How much each part of a model matters to a behaviour: patching, attribution, ablation.

A part is a component of a layer, or one head or neuron of it, at some positions; the behaviour and
its score are those of `engine.analysis.task`.

- *Activation patching* (Vig et al. 2020, arXiv:2004.12265; Meng et al. 2022, arXiv:2202.05262)
  runs one prompt with the part's activation taken from the other prompt's run.
- *Ablation* runs one prompt with the part's activation set to what `engine.analysis.ablation` says.
- *Attribution patching* (Nanda 2023, neelnanda.io/attribution-patching; Syed et al. 2023,
  arXiv:2310.10348) estimates the score of activation patching to first order: the gradient of the
  score by the activation, times the difference of the two activations. For all parts together it
  takes three forward passes and one backward pass.

*Denoising* changes the corrupted prompt's run, *noising* the clean one's (Heimersheim and Nanda
2024, arXiv:2404.15255). The effect of a part is

- denoising: (score - corrupted score) / (clean score - corrupted score), the share of the
  difference between the prompts that the part restores;
- noising: (clean score - score) / (clean score - corrupted score), the share that is lost with it.

Either is (score - base score) / (other score - base score), the base being the run that is changed.
Over several examples an effect is the mean of the examples' effects. A set of parts is changed in
one pass; its effect is not the sum of theirs, except that attribution estimates it so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np

from engine.analysis.ablation import AblatedValues, Ablation
from engine.analysis.gradients import gradients
from engine.analysis.parts import (
    CircuitPart,
    Part,
    check_component,
    groups_of,
    masks_of,
    points_of,
    resolved,
    units_of,
)
from engine.analysis.patching import Run, patched_scores, run
from engine.analysis.task import Task
from engine.components import NEURONS, PER_HEAD, ComponentType
from engine.errors import (
    EngineError,
    InvalidRequestError,
    NotFiniteError,
    UnknownHeadError,
    UnknownNeuronError,
)
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.taps.points import Point

METHODS = ("activation_patching", "attribution_patching", "ablation")
DIRECTIONS = ("denoising", "noising")
BATCH_BYTES = 256 << 20

Progress = Callable[[int, int], None]
"""Called at the beginning and after each batch with how many passes of how many are done."""


@dataclass(frozen=True)
class Scores:
    """What was measured over one or more examples, in logits.

    `scores` are ``[examples, …]`` in float64, `effects` the mean of the examples' effects, ``[…]``
    in float32.
    """

    clean_scores: list[float]
    corrupted_scores: list[float]
    scores: np.ndarray
    effects: np.ndarray

    @property
    def clean_score(self) -> float:
        """The mean over the examples."""
        return float(np.mean(self.clean_scores))

    @property
    def corrupted_score(self) -> float:
        """The mean over the examples."""
        return float(np.mean(self.corrupted_scores))


@dataclass(frozen=True)
class Effects(Scores):
    """The effects of all parts of a component.

    The axes of `effects` count layers, then heads or neurons if the component has them, then
    groups of positions that were changed together; with heads or neurons, that last axis is there
    only for each position by itself. `positions` is None if the examples' groups differ.
    """

    layers: list[int]
    heads: list[int] | None
    neurons: list[int] | None
    positions: list[list[int]] | None


@gaps_explained()
def patch_effects(
    kit: ModelKit,
    tasks: Task | Sequence[Task],
    *,
    component: ComponentType | str = ComponentType.HEAD_OUTPUT,
    method: str = "activation_patching",
    direction: str = "denoising",
    ablation: Ablation | None = None,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    neurons: Sequence[int] | None = None,
    positions: Literal["all", "each"] | Sequence[int] = "all",
    batch_bytes: int = BATCH_BYTES,
    progress: Progress = lambda done, total: None,
) -> Effects:
    """The effect of each part of a component by itself, defined above.

    `layers`, `heads` and `neurons` choose the parts (None: all). `positions` are changed together:
    all, or those of a list, negative ones counting from the end; or each by itself. `ablation` is
    for the method of that name, zero ablation if None. `batch_bytes` is about what the activations
    of a batch may take.

    Raises InvalidRequestError for prompts of unequal length, tokens outside the vocabulary, an
    unknown method, scores that do not differ, or a value that a pass calculates more than once;
    UnknownLayerError, UnknownComponentError, UnknownHeadError, UnknownNeuronError,
    UnknownPositionError. Each names what exists.
    """
    component = check_component(component)
    points = points_of(kit, component, layers)
    units = _units(kit, points, heads, neurons)
    tasks = as_tasks(tasks)
    experiment = _Experiment(kit, tasks, points, method, direction, ablation)
    groups = [groups_of(positions, length) for length in experiment.lengths]
    if positions == "each" and len(set(experiment.lengths)) > 1:
        lengths = sorted(set(experiment.lengths))
        raise InvalidRequestError(f"positions: 'each' needs examples of one length, not {lengths}")
    unit_choices: Sequence[int | None] = units or [None]
    found = experiment.scores(
        [
            [[[Part(p, unit, group)] for unit in unit_choices for group in each] for p in points]
            for each in groups
        ],
        batch_bytes,
        progress,
    )
    shape = [len(points), *([len(units)] if units else [])]
    if not units or positions == "each":
        shape.append(len(groups[0]))
    return Effects(
        found.clean_scores,
        found.corrupted_scores,
        found.scores.reshape(-1, *shape),
        found.effects.reshape(shape),
        layers=[point.in_layer for point in points],
        heads=units if component in PER_HEAD else None,
        neurons=units if component in NEURONS else None,
        positions=[list(g) for g in groups[0]] if groups.count(groups[0]) == len(groups) else None,
    )


def patch_sets(
    kit: ModelKit,
    tasks: Task | Sequence[Task],
    sets: Sequence[Sequence[CircuitPart]],
    *,
    method: str = "activation_patching",
    direction: str = "denoising",
    ablation: Ablation | None = None,
    batch_bytes: int = BATCH_BYTES,
    progress: Progress = lambda done, total: None,
) -> Scores:
    """The effect of each set of parts, all of them changed in one pass; one axis counts the sets.

    A set without parts changes nothing. Raises what `patch_effects` does.
    """
    tasks = as_tasks(tasks)
    if not sets:
        raise InvalidRequestError("sets: at least one is needed")
    blocks = [
        [[[resolved(kit, part, len(task.clean)) for part in each] for each in sets]]
        for task in tasks
    ]
    points = list(dict.fromkeys(part.point for row in blocks[0][0] for part in row))
    experiment = _Experiment(kit, tasks, points, method, direction, ablation)
    return experiment.scores(blocks, batch_bytes, progress)


def as_tasks(tasks: Task | Sequence[Task]) -> list[Task]:
    """One or more tasks as a list, or an InvalidRequestError for none."""
    tasks = [tasks] if isinstance(tasks, Task) else list(tasks)
    if not tasks:
        raise InvalidRequestError("examples: at least one is needed")
    return tasks


Row = Sequence[Part]
"""What is changed in one pass."""


class _Experiment:
    """How parts at some points are changed in passes over tasks, and what that does to scores."""

    def __init__(
        self,
        kit: ModelKit,
        tasks: Sequence[Task],
        points: Sequence[Point],
        method: str,
        direction: str,
        ablation: Ablation | None,
    ):
        for name, given, known in (
            ("method", method, METHODS),
            ("direction", direction, DIRECTIONS),
        ):
            if given not in known:
                raise InvalidRequestError(f"{name}: {given!r} is none of {', '.join(known)}")
        if ablation is not None and method != "ablation":
            raise InvalidRequestError(f"ablation: the method {method} ablates nothing")
        for task in tasks:
            task.check(kit)
        self.lengths = [len(task.clean) for task in tasks]
        self._kit = kit
        self._tasks = tasks
        self._points = points
        self._denoises = direction == "denoising"
        self._estimates = method == "attribution_patching"
        self._ablated = None
        if method == "ablation":
            others = [task.clean if self._denoises else task.corrupted for task in tasks]
            self._ablated = AblatedValues(kit, ablation or Ablation(), points, others, self.lengths)

    def scores(
        self, blocks: Sequence[Sequence[Sequence[Row]]], batch_bytes: int, progress: Progress
    ) -> Scores:
        """The score with each row changed, ``[examples, rows]``; the rows are in blocks of which
        each is measured by itself, by example."""
        report = _Report(sum(map(self._passes, self.lengths, blocks)), progress)
        clean_scores, corrupted_scores, scores, effects = [], [], [], []
        for number, (task, rows) in enumerate(zip(self._tasks, blocks, strict=True)):
            clean, corrupted = (
                run(self._kit, tokens, self._points, task.score)
                for tokens in (task.clean, task.corrupted)
            )
            if clean.score == corrupted.score:
                which = f"of example {number} " if len(self._tasks) > 1 else ""
                raise InvalidRequestError(
                    f"both prompts {which}score {clean.score}: without a difference there is "
                    "nothing to share out"
                )
            base, other = (corrupted, clean) if self._denoises else (clean, corrupted)
            report.add(0)
            if self._estimates:
                found = self._estimated(task, base, other, rows)
                report.add(1)
            else:
                found = self._measured(task, number, base, other, rows, batch_bytes, report)
            clean_scores.append(clean.score)
            corrupted_scores.append(corrupted.score)
            scores.append(found)
            effects.append((found - base.score) / (other.score - base.score))
        return Scores(
            clean_scores,
            corrupted_scores,
            np.stack(scores),
            np.mean(effects, axis=0).astype(np.float32),
        )

    def _passes(self, length: int, blocks: Sequence[Sequence[Row]]) -> int:
        """How many passes an example takes, beyond those of its prompts."""
        if self._estimates:
            return 1
        each = self._ablated.passes(length) if self._ablated else 1
        return each * sum(map(len, blocks))

    def _measured(
        self,
        task: Task,
        number: int,
        base: Run,
        other: Run,
        blocks: Sequence[Sequence[Row]],
        batch_bytes: int,
        report: "_Report",
    ) -> np.ndarray:
        """The score with each row changed, ``[rows]``: the mean over what it is changed to."""
        changes = self._ablated.of(base, number) if self._ablated else [other.values]
        scores = []
        for rows in blocks:
            sums = np.zeros(len(rows))
            for values in changes:
                masks = (masks_of(row, base.shapes) for row in rows)
                found: list[float] = []
                for batch in patched_scores(
                    self._kit, base, masks, values, task.score, batch_bytes
                ):
                    found.extend(batch)
                    report.add(len(batch))
                sums += np.array(found, np.float64)
            scores.append(sums / len(changes))
        return np.concatenate(scores)

    def _estimated(
        self, task: Task, base: Run, other: Run, blocks: Sequence[Sequence[Row]]
    ) -> np.ndarray:
        """Estimates of the scores that patching would measure, ``[rows]``."""
        if not self._points:
            return np.full(sum(map(len, blocks)), base.score)
        tokens = mx.array([base.tokens])
        found = gradients(self._kit, tokens, self._points, lambda logits: task.score(logits).sum())
        slopes = {}
        for point, gradient in found.gradients.items():
            if not mx.isfinite(gradient).all().item():
                raise NotFiniteError(
                    f"the gradient at {point.component} of layer {point.layer} is NaN or infinite: "
                    "load the model in float32, or use activation_patching"
                )
            slope = (gradient * (other.values[point] - base.values[point])).astype(mx.float32)
            kept = point.component in NEURONS
            slopes[point] = np.array(slope[0] if kept else slope.sum(-1, keepdims=True)[0])
        return np.array(
            [base.score + _slope(row, slopes, base.shapes) for rows in blocks for row in rows]
        )


class _Report:
    """Counts the passes that are done."""

    def __init__(self, total: int, progress: Progress):
        self._done, self._total, self._progress = 0, total, progress

    def add(self, passes: int) -> None:
        self._done += passes
        self._progress(self._done, self._total)


def _slope(
    row: Row, slopes: dict[Point, np.ndarray], shapes: dict[Point, tuple[int, ...]]
) -> float:
    """The sum of slopes, each in the shape of its point's mask, over the parts of a row."""
    if len(row) == 1:  # as in a sweep, where a mask for each of many neurons would take long
        part, positions = row[0], list(row[0].positions)
        slope = slopes[part.point]
        if part.unit is None:
            return slope[..., positions, :].sum()
        of_unit = slope[part.unit] if part.point.component in PER_HEAD else slope[:, part.unit]
        return of_unit[positions].sum()
    masks = masks_of(row, shapes)
    return sum((slopes[point] * mask).sum() for point, mask in masks.items())


def _units(
    kit: ModelKit,
    points: Sequence[Point],
    heads: Sequence[int] | None,
    neurons: Sequence[int] | None,
) -> list[int] | None:
    """The heads or neurons that are changed by themselves, None where there are none."""
    component = points[0].component
    kind = "neurons" if component in NEURONS else "heads"
    chosen: list[int] | None = None
    error: type[EngineError] = UnknownHeadError
    for name, given, kinds in (("heads", heads, PER_HEAD), ("neurons", neurons, NEURONS)):
        if given is None:
            continue
        error = UnknownHeadError if name == "heads" else UnknownNeuronError
        if component not in kinds:
            raise error(f"{component} has no {name} to select")
        if not given:
            raise InvalidRequestError(f"{name}: at least one is needed")
        chosen = list(given)
    counts = sorted({units_of(kit, point) or 0 for point in points})
    if counts == [0]:
        return None
    if len(counts) > 1:
        raise InvalidRequestError(f"layers: these have different numbers of {kind}, {counts}")
    for unit in chosen or ():
        if not 0 <= unit < counts[0]:
            raise error(f"{unit}: {component} has {kind} 0 to {counts[0] - 1}")
        if chosen is not None and chosen.count(unit) > 1:
            raise InvalidRequestError(f"{kind}: {unit} is given twice")
    return list(range(counts[0])) if chosen is None else chosen
