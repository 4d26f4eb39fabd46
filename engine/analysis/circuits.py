"""How much each part of a model matters to a task: patching, attribution, ablation.

A task is two prompts of equal length in tokens, a clean one and a corrupted one, and two tokens.
The score of a pass is the difference of their logits at the last position, answer minus distractor
(Wang et al. 2022, arXiv:2211.00593; why the logits: Zhang and Nanda 2023, arXiv:2309.16042). A
part is one component of one layer, or one head of it, at some positions.

- *Activation patching* (Vig et al. 2020, arXiv:2004.12265; Meng et al. 2022, arXiv:2202.05262)
  runs one prompt with the part's activation taken from the other prompt's run.
- *Ablation* runs one prompt with the part's activation set to zero.
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
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np

from engine.analysis.gradients import gradients
from engine.analysis.patching import Part, Run, patched_scores, run
from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.components import PER_HEAD, ComponentType
from engine.errors import InvalidRequestError, UnknownPositionError
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.taps.points import Point

COMPONENTS = ("residual", "attention", "mlp", "head_output")
METHODS = ("activation_patching", "attribution_patching", "ablation")
DIRECTIONS = ("denoising", "noising")
BATCH_BYTES = 256 << 20


@dataclass(frozen=True)
class Task:
    """Two prompts as token ids, and the ids of the tokens whose logits are compared."""

    clean: Sequence[int]
    corrupted: Sequence[int]
    answer: int
    distractor: int

    def score(self, logits: mx.array) -> mx.array:
        """Logit difference at the last position, ``[batch]``, of ``[batch, positions, vocab]``."""
        last = logits[:, -1].astype(mx.float32)
        return last[:, self.answer] - last[:, self.distractor]


@dataclass(frozen=True)
class Effects:
    """The effects of all parts of a component, in float32.

    Their axes count layers, then heads if the component has heads, then groups of positions that
    were changed together; with heads, that last axis is there only for each position by itself.
    """

    clean_score: float
    corrupted_score: float
    layers: list[int]
    heads: list[int] | None
    positions: list[list[int]]
    effects: np.ndarray


@gaps_explained()
def patch_effects(
    kit: ModelKit,
    task: Task,
    *,
    component: ComponentType | str = ComponentType.HEAD_OUTPUT,
    method: str = "activation_patching",
    direction: str = "denoising",
    layers: Sequence[int] | None = None,
    positions: Literal["all", "each"] | Sequence[int] = "all",
    batch_bytes: int = BATCH_BYTES,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Effects:
    """The effect of each part of a component in `layers` (None: all), defined above.

    `positions` are changed together: all, or those of a list, negative ones counting from the end;
    or each by itself. `batch_bytes` is about what the activations of a batch may take; `progress`
    hears after each batch how many parts of how many are done.

    Raises InvalidRequestError for prompts of unequal length, tokens outside the vocabulary, an
    unknown method, scores that do not differ, or a value that a pass calculates more than once;
    UnknownLayerError, UnknownComponentError, UnknownPositionError. Each names what exists.
    """
    for name, given, known in (
        ("component", component, COMPONENTS),
        ("method", method, METHODS),
        ("direction", direction, DIRECTIONS),
    ):
        if given not in known:
            raise InvalidRequestError(f"{name}: {given!r} is none of {', '.join(known)}")
    _check(task, kit)
    points = _points(kit, ComponentType(component), layers)
    heads = _heads(kit, points)
    groups = _groups(positions, len(task.clean))
    parts = [
        [Part(point, head, group) for head in heads or [None] for group in groups]
        for point in points
    ]
    clean, corrupted = (
        run(kit, tokens, points, task.score) for tokens in (task.clean, task.corrupted)
    )
    if clean.score == corrupted.score:
        raise InvalidRequestError(
            f"both prompts score {clean.score}: without a difference there is nothing to share out"
        )
    base, other = (corrupted, clean) if direction == "denoising" else (clean, corrupted)
    if method == "attribution_patching":
        scores = _estimated(kit, task, base, other, parts)
    else:
        ablated = {point: mx.zeros_like(base.values[point]) for point in points}
        values = ablated if method == "ablation" else other.values
        scores = _measured(kit, task, base, values, parts, batch_bytes, progress)
    effects = (scores - base.score) / (other.score - base.score)
    counted = [len(heads)] if heads else []
    if not heads or positions == "each":
        counted.append(len(groups))
    return Effects(
        clean_score=clean.score,
        corrupted_score=corrupted.score,
        layers=[point.layer for point in points],
        heads=heads,
        positions=[list(group) for group in groups],
        effects=effects.reshape(len(points), *counted).astype(np.float32),
    )


def _measured(
    kit: ModelKit,
    task: Task,
    base: Run,
    values: dict[Point, mx.array],
    parts: list[list[Part]],
    batch_bytes: int,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Scores with each part replaced by what `values` hold at its point, ``[layers, parts]``."""
    total, scores = sum(map(len, parts)), []
    for of_layer in parts:
        replacement = values[of_layer[0].point]
        for batch in patched_scores(kit, base, of_layer, replacement, task.score, batch_bytes):
            scores.extend(batch)
            progress(len(scores), total)
    return np.reshape(np.array(scores, np.float64), (len(parts), -1))


def _estimated(
    kit: ModelKit, task: Task, base: Run, other: Run, parts: list[list[Part]]
) -> np.ndarray:
    """Estimates of the scores that patching would measure, ``[layers, parts]``."""
    points = [of_layer[0].point for of_layer in parts]
    tokens = mx.array([base.tokens])
    found = gradients(kit, tokens, points, lambda logits: task.score(logits).sum()).gradients
    scores = []
    for point, of_layer in zip(points, parts, strict=True):
        change = found[point] * (other.values[point] - base.values[point])
        change = np.array(change.astype(mx.float32).sum(-1)[0])
        for part in of_layer:
            by_position = change if part.head is None else change[part.head]
            scores.append(base.score + by_position[list(part.positions)].sum())
    return np.reshape(np.array(scores, np.float64), (len(parts), -1))


def _check(task: Task, kit: ModelKit) -> None:
    if len(task.clean) != len(task.corrupted):
        raise InvalidRequestError(
            f"clean has {len(task.clean)} tokens and corrupted {len(task.corrupted)}; "
            "both need the same number"
        )
    for tokens in (task.clean, task.corrupted, (task.answer, task.distractor)):
        kit.check_tokens([tokens])
    if task.answer == task.distractor:
        raise InvalidRequestError(f"answer and distractor are the same token, {task.answer}")


def _points(kit: ModelKit, component: ComponentType, layers: Sequence[int] | None) -> list[Point]:
    if layers is not None and len(layers) == 0:
        raise InvalidRequestError("layers: at least one is needed")
    names = ["*"] if layers is None else [str(layer) for layer in layers]
    specs = [ActivationHookSpec(name, component) for name in names]
    return [Point(hook.layer, component) for hook in resolve_hooks(specs, kit.structure)]


def _heads(kit: ModelKit, points: list[Point]) -> list[int] | None:
    if points[0].component not in PER_HEAD:
        return None
    counts = sorted({kit.structure.heads(*point[:2]) for point in points})
    if len(counts) > 1:
        raise InvalidRequestError(f"layers: these have different numbers of heads, {counts}")
    return list(range(counts[0]))


def _groups(positions: str | Sequence[int], length: int) -> list[tuple[int, ...]]:
    if positions == "each":
        return [(position,) for position in range(length)]
    if positions == "all":
        return [tuple(range(length))]
    if isinstance(positions, str) or not positions:
        raise InvalidRequestError(f"positions: {positions!r} is none of all, each, a list")
    for position in positions:
        if not -length <= position < length:
            raise UnknownPositionError(
                f"position {position}: the prompts have positions 0 to {length - 1}"
            )
    return [tuple(sorted({position % length for position in positions}))]
