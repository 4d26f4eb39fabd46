"""Texts as vectors: a layer's residual stream, pooled over each text's positions."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from engine.captures.hooks import ActivationHookSpec, ResolvedHook, resolve_hooks
from engine.components import ComponentType
from engine.runs.finite import not_finite
from engine.runs.forward import run_forward
from engine.runs.kit import ModelKit
from engine.runs.steps import Progress
from engine.turns import give_way

Pooling = Literal["mean", "last"]
TOKENS_A_PASS = 2048
ROWS_A_PASS = 64
"""Sequences in one pass: MLX's CUDA backend fails from some hundreds on."""


def embeddings(
    kit: ModelKit,
    sequences: Sequence[Sequence[int]],
    layer: int | None = None,
    pooling: Pooling = "mean",
    progress: Progress = lambda done, total: None,
) -> np.ndarray:
    """A vector for each token sequence, ``[sequences, hidden]`` in float32, lengths as they are.

    It is the residual stream after `layer`, or what the final norm returns where that is None:
    the mean over all positions, or the last one, which alone has seen the whole text. Sequences of
    equal length run together, up to 64 and 2,048 tokens a pass; before each `progress` is called
    with how many sequences of how many are done.
    Raises UnknownLayerError, UnknownComponentError, and what `run_forward` raises.
    """
    spec = (
        ActivationHookSpec("*", ComponentType.FINAL_NORM, "embedding")
        if layer is None
        else ActivationHookSpec(str(layer), ComponentType.RESIDUAL, "embedding")
    )
    hooks = resolve_hooks([spec], kit.structure)
    of_length: dict[int, list[int]] = defaultdict(list)
    for index, sequence in enumerate(sequences):
        of_length[len(sequence)].append(index)
    vectors: dict[int, np.ndarray] = {}
    for length, indices in of_length.items():
        size = max(1, min(ROWS_A_PASS, TOKENS_A_PASS // max(1, length)))
        for start in range(0, len(indices), size):
            together = indices[start : start + size]
            progress(len(vectors), len(sequences))
            give_way()
            batch = [sequences[index] for index in together]
            vectors |= zip(together, _pooled(kit, batch, hooks, pooling), strict=True)
    return np.stack([vectors[index] for index in range(len(sequences))])


def _pooled(
    kit: ModelKit, batch: list[Sequence[int]], hooks: Sequence[ResolvedHook], pooling: Pooling
) -> np.ndarray:
    (record,) = run_forward(kit, batch, hooks, logits="none").activations["embedding"]
    stream = np.asarray(record.data, dtype=np.float32)
    if not np.isfinite(stream).all():
        raise not_finite(kit, batch, {})
    return stream[:, -1].copy() if pooling == "last" else stream.mean(axis=1)
