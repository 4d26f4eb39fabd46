"""Where what a model attends to depends on how its tokens are cut into passes, put right at load.

In mlx-lm some models are another network when they generate than in one pass over the sequence.
"""

from dataclasses import replace
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models import phi3small


def correct_masks(model: nn.Module, kind: str) -> str:
    """Have a model of this `model_type` attend to the same tokens in every pass.

    Returns what was wrong; nothing if all was right.
    """
    if kind == "plamo3":
        return _keep_the_window(model)
    if kind == "phi3small":
        return _mask_as_numbers(model)
    return ""


def _keep_the_window(model: nn.Module) -> str:
    """Its mask lets a token see `window_size` tokens before it."""
    window = model.config.window_size + 1
    model.config = replace(model.config, window_size=window, sliding_window=window)
    return f"the sliding cache keeps {window} tokens, all that the mask shows, not one less"


def _mask_as_numbers(model: nn.Module) -> str:
    """A mask of truth values hides nothing where it is added."""
    for block in model.layers:
        if block.self_attn.block_sparse:
            block.self_attn.__class__ = MaskedAttention
    return "block-sparse attention hides later tokens, which mlx-lm's does not"


class MaskedAttention(phi3small.Attention):
    """Attention of phi3small whose truth values hide tokens."""

    def _block_sparse_attention(
        self, queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: Any
    ) -> mx.array:
        if mask is not None and mask.dtype == mx.bool_:
            mask = mx.where(mask, 0, -mx.inf).astype(queries.dtype)
        return super()._block_sparse_attention(queries, keys, values, scale, mask)
