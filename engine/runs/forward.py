"""One forward pass over given tokens, nothing sampled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np

from engine.captures.encoding import encoded
from engine.captures.hooks import ActivationHookSpec, ResolvedHook
from engine.captures.recorder import Recorder
from engine.captures.records import Activations
from engine.captures.steps import records
from engine.components import ComponentType
from engine.errors import InvalidRequestError
from engine.interventions.intervening import Interventions
from engine.interventions.intervention import AnyIntervention
from engine.machine.gaps import gaps_explained
from engine.runs.chunks import forgets_keys, logits_of_chunks, passes_over
from engine.runs.finite import are_finite, not_finite
from engine.runs.footprint import COPIES, FLOAT32, LONG, looks_at_scores
from engine.runs.kit import ModelKit
from engine.runs.special_tokens import special_positions
from engine.runs.steps import Progress, in_steps
from engine.taps.observation import observed

Logits = Literal["last", "all", "none"]
"""The positions whose logits a forward pass returns."""


@dataclass(frozen=True)
class ForwardResult:
    """Logits are ``[batch, 1 or seq, vocab]`` in float32, None if not asked for."""

    tokens: list[list[int]]
    logits: np.ndarray | None
    activations: Activations


def forward(
    kit: ModelKit,
    tokens: Sequence[Sequence[int]],
    activation_hooks: Sequence[ActivationHookSpec] = (),
    interventions: Sequence[AnyIntervention] = (),
    *,
    logits: Logits = "last",
    budget_bytes: int | None = None,
    prefill_step_size: int = LONG,
) -> ForwardResult:
    """Run a batch of token sequences of equal length, ``[batch, seq]``, through the model once.

    The kit's registered hooks capture too, and keep what they captured. Raises InvalidRequestError
    for tokens that are empty, of unequal length or outside the vocabulary, and what `resolve_hooks`
    raises; ContextLengthError for more tokens than the model has learned positions;
    CaptureTooLargeError past the byte budget; NotFiniteError for logits that are NaN or infinite;
    UnsupportedOperationError for what MLX cannot compute on this device.

    Sequences of more than `prefill_step_size` tokens run in several passes, and shorter ones too
    where the memory that is available asks for it; captures and logits are those of all passes,
    joined. The means of a sequence and functions need it whole, and so does a changed pattern where
    the model's caches forget keys. Raises NotEnoughMemoryError, before
    anything runs, for what does not fit.
    """
    hooks = kit.hooks.hooks_for(activation_hooks)
    result = run_forward(
        kit,
        tokens,
        hooks,
        interventions,
        logits=logits,
        budget_bytes=budget_bytes,
        prefill_step_size=prefill_step_size,
    )
    kit.hooks.collect(result.activations)
    return result


def run_forward(
    kit: ModelKit,
    tokens: Sequence[Sequence[int]],
    hooks: Sequence[ResolvedHook],
    interventions: Sequence[AnyIntervention] = (),
    *,
    logits: Logits = "last",
    budget_bytes: int | None = None,
    prefill_step_size: int = LONG,
    progress: Progress = lambda done, total: None,
) -> ForwardResult:
    """As `forward`, with these hooks and no others; `progress` is called with how many layers of
    how many have been run, of all passes, if they are long."""
    batch = [list(sequence) for sequence in tokens]
    kit.check_tokens(batch)
    if logits not in ("last", "all", "none"):
        raise InvalidRequestError(f"logits is {logits!r}, not one of last, all, none")
    length = len(batch[0])
    kit.structure.check_length(length)
    special = special_positions(kit, hooks, batch)
    recorder = Recorder(hooks, length, range(length), budget_bytes, special)
    changes = Interventions(interventions, kit.structure, length, range(length))
    chosen: list[mx.array] = []
    with gaps_explained():
        size = _positions_a_pass(kit, batch, hooks, changes, logits, prefill_step_size)
        visitors = in_steps(
            kit.structure,
            changes.visitors(),
            len(batch) * size,
            passes=passes_over(length, size),
            progress=progress,
        )
        with observed(kit.structure, visitors, recorder):
            for output in logits_of_chunks(kit.structure, mx.array(batch), size):
                chosen = _chosen(chosen, output, logits)
        changes.check_done(length)
        recorder.start()
        mx.async_eval(chosen)  # computed while what was captured is on its way to the host
        activations = encoded(records(recorder.take(range(length))), hooks)
        whole = _joined(chosen)
        if whole is not None and not are_finite(whole):
            raise not_finite(kit, batch, changes.visitors(without_functions=True))
        return ForwardResult(batch, whole, activations)


def _positions_a_pass(
    kit: ModelKit,
    batch: Sequence[Sequence[int]],
    hooks: Sequence[ResolvedHook],
    changes: Interventions,
    logits: str,
    most: int,
) -> int:
    """How many positions are run at once. Raises NotEnoughMemoryError."""
    if most < 1:
        raise InvalidRequestError(f"prefill_step_size is {most}, not at least 1")
    rows, length = len(batch), len(batch[0])
    points = {point for hook in hooks for point, _ in hook.points}
    needs_keys = any(point.component is ComponentType.ATTENTION_PATTERN for point in changes.points)
    needs_keys = needs_keys and forgets_keys(kit.structure)  # a pattern may attend to any of them
    kept = kit.footprint.of_captures(hooks, rows, length)
    if logits == "all":
        kept += COPIES * rows * length * kit.info.vocab_size * FLOAT32
    return kit.footprint.longest_pass(
        rows,
        length,
        kept=kept,
        looks_at_scores=looks_at_scores([*points, *changes.points]),
        most=most,
        can_be_cut=not (changes.need_whole_sequence or needs_keys),
    )


def _chosen(chosen: list[mx.array], output: mx.array, logits: str) -> list[mx.array]:
    """The logits that are asked for, once those of one more chunk are there."""
    if logits == "none":
        return []
    if logits == "last":
        return [output[:, -1:].astype(mx.float32)]
    mx.eval(chosen)  # of the chunks before, whose graphs are then freed
    return [*chosen, output.astype(mx.float32)]


def _joined(chosen: list[mx.array]) -> np.ndarray | None:
    pieces = [np.array(each) for each in chosen]
    return np.concatenate(pieces, axis=1) if len(pieces) > 1 else next(iter(pieces), None)
