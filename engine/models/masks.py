"""Where what a model attends to depends on how its tokens are cut into passes, put right at load.

In mlx-lm some models are another network when they generate than in one pass over the sequence.
"""

import logging
from dataclasses import replace
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models import phi3small

logger = logging.getLogger(__name__)


def correct_masks(model: nn.Module, kind: str) -> None:
    """Have a model of this `model_type` attend to the same tokens in every pass."""
    if kind == "plamo3":
        _keep_the_window(model)
    if kind == "phi3small":
        _mask_as_numbers(model)


def _keep_the_window(model: nn.Module) -> None:
    """Its mask lets a token see `window_size` tokens before it, its cache keeps one less."""
    window = model.config.window_size + 1
    model.config = replace(model.config, window_size=window, sliding_window=window)
    logger.warning("the sliding cache keeps one token more, which this model's mask lets it see")


def _mask_as_numbers(model: nn.Module) -> None:
    """Its block-sparse attention adds a mask of truth values, which hides nothing."""
    for block in model.layers:
        if block.self_attn.block_sparse:
            block.self_attn.__class__ = MaskedAttention
    logger.warning("block-sparse attention hides later tokens here, which mlx-lm's does not")


class MaskedAttention(phi3small.Attention):
    """Attention of phi3small whose truth values hide tokens."""

    def _block_sparse_attention(
        self, queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: Any
    ) -> mx.array:
        if mask is not None and mask.dtype == mx.bool_:
            mask = mx.where(mask, 0, -mx.inf).astype(queries.dtype)
        return super()._block_sparse_attention(queries, keys, values, scale, mask)
