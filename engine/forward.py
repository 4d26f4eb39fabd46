"""One forward pass over given tokens, nothing sampled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np

from engine.capture import Activations, Recorder, records
from engine.errors import InvalidRequestError
from engine.hooks import ActivationHookSpec, resolve_hooks
from engine.intervening import Interventions
from engine.interventions import Intervention
from engine.kit import ModelKit
from engine.observation import observed
from engine.weaving import in_turn


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
    logits: Literal["last", "all", "none"] = "last",
    budget_bytes: int | None = None,
) -> ForwardResult:
    """Run a batch of token sequences of equal length, ``[batch, seq]``, through the model once.

    Raises InvalidRequestError for tokens that are empty, of unequal length or outside the
    vocabulary, and what `resolve_hooks` raises; CaptureTooLargeError past the byte budget.
    """
    batch = [list(sequence) for sequence in tokens]
    _check(batch, kit.info.vocab_size)
    length = len(batch[0])
    recorder = Recorder(resolve_hooks(activation_hooks, kit.structure), length, budget_bytes)
    changes = Interventions(interventions, kit.structure, length, range(length))
    visitors = in_turn(changes.visitors(), recorder.visitors())
    with observed(kit.structure, visitors, recorder):
        output = kit.model(mx.array(batch))
    changes.check_done(length)
    return ForwardResult(
        tokens=batch,
        logits=_chosen(output, logits),
        activations=records(recorder.passes, step=0),
    )


def _check(batch: list[list[int]], vocab_size: int) -> None:
    if not batch or not batch[0]:
        raise InvalidRequestError("tokens: at least one token is needed")
    lengths = sorted({len(sequence) for sequence in batch})
    if len(lengths) > 1:
        raise InvalidRequestError(f"tokens: sequences of one length are needed, not {lengths}")
    for sequence in batch:
        for token in sequence:
            if not 0 <= token < vocab_size:
                raise InvalidRequestError(
                    f"tokens: {token} is outside the vocabulary of {vocab_size}"
                )


def _chosen(output: mx.array, logits: str) -> np.ndarray | None:
    if logits == "none":
        return None
    if logits not in ("last", "all"):
        raise InvalidRequestError(f"logits: {logits!r} is none of last, all, none")
    return np.array((output[:, -1:] if logits == "last" else output).astype(mx.float32))
