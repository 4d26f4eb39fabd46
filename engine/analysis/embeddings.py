"""A text as one vector: a layer's residual stream, pooled over the text's positions."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.components import ComponentType
from engine.runs.forward import run_forward
from engine.runs.kit import ModelKit

Pooling = Literal["mean", "last"]


def embedding(
    kit: ModelKit, tokens: Sequence[int], layer: int | None = None, pooling: Pooling = "mean"
) -> np.ndarray:
    """The vector of one token sequence, ``[hidden]`` in float32; its length is not normalised.

    It is the residual stream after `layer`, or what the final norm returns where that is None:
    the mean over all positions, or the last one, which alone has seen the whole text. Raises
    UnknownLayerError, UnknownComponentError, and what `run_forward` raises.
    """
    spec = (
        ActivationHookSpec("*", ComponentType.FINAL_NORM, "embedding")
        if layer is None
        else ActivationHookSpec(str(layer), ComponentType.RESIDUAL, "embedding")
    )
    hooks = resolve_hooks([spec], kit.structure)
    (record,) = run_forward(kit, [tokens], hooks, logits="none").activations["embedding"]
    stream = np.asarray(record.data, dtype=np.float32)[0]
    return stream[-1].copy() if pooling == "last" else stream.mean(axis=0)
