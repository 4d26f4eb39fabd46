"""The matrix and the bias of a linear layer, of whatever class it is."""

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.mla import MultiLinear
from mlx_lm.models.switch_layers import SwitchLinear

from engine.models.dequantise import PLAIN, dense_weight

STORED = (nn.Linear, nn.Embedding, SwitchLinear, MultiLinear, *PLAIN)
"""Layers whose `weight` is what they multiply by, ``[outputs, inputs]``."""


def widths(module: nn.Module) -> tuple[int, int] | None:
    """How many inputs and outputs a linear layer, or a table of embeddings, has; None if a module
    is neither."""
    if is_adapted(module):
        return widths(module["linear"])
    weight = module.get("weight")
    if len(module.modules()) > 1 or not isinstance(weight, mx.array) or weight.ndim not in (2, 3):
        return None
    if "conv" in type(module).__name__.lower():
        return None
    packed = module.get("scales") is not None
    return weight.shape[-1] * 32 // module.bits if packed else weight.shape[-1], weight.shape[-2]


def experts(module: nn.Module) -> int | None:
    """Of how many experts a layer has the weights."""
    weight = module.get("weight")
    return weight.shape[0] if isinstance(weight, mx.array) and weight.ndim == 3 else None


def is_adapted(module: nn.Module) -> bool:
    """Whether a layer is a linear one with an adapter of low rank beside it."""
    return "LoRA" in type(module).__name__ and "linear" in module


def matrix(
    module: nn.Module, *, expert: int | None = None, rows: mx.array | None = None
) -> mx.array:
    """What a layer multiplies by, in float32, ``[…, outputs, inputs]``; of one expert, or of some
    outputs (`rows`), if wanted.

    A layer of a class of an architecture's own is asked what it makes of the unit vectors.
    """
    if isinstance(module, STORED) or not _is_linear(module):
        return dense_weight(module, expert=expert, rows=rows)
    found_widths = widths(module)
    assert found_widths is not None, "a linear layer has widths"
    inputs, outputs = found_widths
    if "Embedding" in type(module).__name__:
        found = module(mx.arange(outputs) if rows is None else rows).astype(mx.float32)
        return found.reshape(-1, inputs)
    zero = _applied(module, mx.zeros((1, inputs)))
    whole = (_applied(module, mx.eye(inputs)) - zero).T
    return whole if rows is None else whole[rows]


def bias(module: nn.Module) -> mx.array | None:
    """What a layer adds, in float32, ``[…, outputs]``; None if it adds nothing."""
    if is_adapted(module):
        return bias(module["linear"])
    found = module.get("bias")
    return None if found is None else found.astype(mx.float32)


def _is_linear(module: nn.Module) -> bool:
    return any(word in type(module).__name__ for word in ("Linear", "Embedding"))


def _applied(module: nn.Module, rows: mx.array) -> mx.array:
    result = module(rows)
    parts = result if isinstance(result, list | tuple) else [result]
    return mx.concatenate([part.astype(mx.float32) for part in parts], axis=-1)
