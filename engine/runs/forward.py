"""One forward pass over given tokens, nothing sampled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np

from engine.captures.hooks import ActivationHookSpec, ResolvedHook
from engine.captures.recorder import Recorder
from engine.captures.records import Activations
from engine.captures.steps import records
from engine.errors import InvalidRequestError
from engine.interventions.intervening import Interventions
from engine.interventions.intervention import Intervention
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
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
    interventions: Sequence[Intervention] = (),
    *,
    logits: Logits = "last",
    budget_bytes: int | None = None,
) -> ForwardResult:
    """Run a batch of token sequences of equal length, ``[batch, seq]``, through the model once.

    The kit's registered hooks capture too, and keep what they captured. Raises InvalidRequestError
    for tokens that are empty, of unequal length or outside the vocabulary, and what `resolve_hooks`
    raises; CaptureTooLargeError past the byte budget; UnsupportedOperationError for what MLX cannot
    compute on this device.
    """
    hooks = kit.hooks.hooks_for(activation_hooks)
    result = run_forward(
        kit, tokens, hooks, interventions, logits=logits, budget_bytes=budget_bytes
    )
    kit.hooks.collect(result.activations)
    return result


def run_forward(
    kit: ModelKit,
    tokens: Sequence[Sequence[int]],
    hooks: Sequence[ResolvedHook],
    interventions: Sequence[Intervention] = (),
    *,
    logits: Logits = "last",
    budget_bytes: int | None = None,
) -> ForwardResult:
    """As `forward`, with these hooks and no others."""
    batch = [list(sequence) for sequence in tokens]
    kit.check_tokens(batch)
    if logits not in ("last", "all", "none"):
        raise InvalidRequestError(f"logits is {logits!r}, not one of last, all, none")
    length = len(batch[0])
    recorder = Recorder(hooks, length, range(length), budget_bytes)
    changes = Interventions(interventions, kit.structure, length, range(length))
    with gaps_explained():
        with observed(kit.structure, changes.visitors(), recorder):
            output = kit.structure.logits(mx.array(batch))
        changes.check_done(length)
        recorder.start()
        chosen = _chosen(output, logits)
        if chosen is not None:
            mx.async_eval(chosen)  # computed while what was captured is on its way to the host
        activations = records(recorder.take(range(length)))
        return ForwardResult(batch, None if chosen is None else np.array(chosen), activations)


def _chosen(output: mx.array, logits: str) -> mx.array | None:
    if logits == "none":
        return None
    return (output[:, -1:] if logits == "last" else output).astype(mx.float32)
