"""Quantised layers turned back into plain ones, of which the numbers are the same."""

from collections.abc import Collection
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.models.afm7 import FusedLinear, FusedQuantizedLinear
from mlx_lm.models.mla import MultiLinear, QuantizedMultiLinear
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear

PLAIN = {
    nn.QuantizedLinear: nn.Linear,
    nn.QuantizedEmbedding: nn.Embedding,
    QuantizedSwitchLinear: SwitchLinear,
    QuantizedMultiLinear: MultiLinear,
    FusedQuantizedLinear: FusedLinear,
}
PACKED = ("weight", "scales", "biases", "global_scale")


def dequantise(model: nn.Module, names: Collection[str] | None = None) -> None:
    """Replace the model's quantised layers of these names by plain float32 ones; None: all.

    `mlx_lm.utils.dequantize_model` rounds to the scales' type, and knows three kinds of layer.
    """
    plain = [
        (name, plain_layer(layer))
        for name, layer in model.named_modules()
        if type(layer) in PLAIN and (names is None or name in names)
    ]
    model.update_modules(tree_unflatten(plain))


def dequantise_wrong_on_cuda(model: nn.Module) -> None:
    """Replace the quantised layers that MLX 0.32 multiplies wrongly on CUDA, in the model's type.

    These are the layers with a weight for each head (`MultiLinear`, of latent attention), which in
    a batch give all heads but the first other numbers, and linear layers as narrow as one group,
    for which Hopper GPUs have a kernel of their own.
    """
    wrong = [name for name, layer in model.named_modules() if _is_wrong_on_cuda(layer)]
    dtype = float_dtype(model)
    dequantise(model, wrong)
    for name, layer in model.named_modules():
        if name in wrong:
            layer.set_dtype(dtype)


def float_dtype(model: nn.Module) -> mx.Dtype:
    """The type of a model's first weight that is not packed."""
    flat = cast(list[tuple[str, mx.array]], tree_flatten(model.parameters()))
    weights = (weight for _, weight in flat)
    return next(w.dtype for w in weights if mx.issubdtype(w.dtype, mx.floating))


def _is_wrong_on_cuda(layer: nn.Module) -> bool:
    if type(layer) is nn.QuantizedLinear:
        too_large = layer.group_size == 128 and layer.scales.dtype == mx.float32
        return too_large or layer.scales.shape[-1] == 1
    return type(layer) is QuantizedMultiLinear


def plain_layer(layer: nn.Module) -> nn.Module:
    """The plain layer, in float32, of a quantised one; its weight is calculated when it is used."""
    kind: Any = PLAIN[type(layer)]
    plain: Any = kind.__new__(kind)
    nn.Module.__init__(plain)
    for name, value in layer.items():
        if name not in PACKED:
            setattr(plain, name, value)
    plain.weight = dense_weight(layer)
    return plain


def dense_weight(
    layer: nn.Module, *, expert: int | None = None, rows: mx.array | None = None
) -> mx.array:
    """A layer's weight in float32, ``[..., outputs, inputs]``, whether it is quantised or not.

    Of a layer that has one weight for each of several experts, `expert` is the one wanted; `rows`
    are the outputs wanted. What is not wanted is not dequantised.
    """
    arrays = {name: layer[name] for name in PACKED if layer.get(name) is not None}
    if expert is not None:
        arrays = {name: each[expert] if each.ndim else each for name, each in arrays.items()}
    if rows is not None:
        arrays = {
            name: each if name == "global_scale" else each[..., rows, :]
            for name, each in arrays.items()
        }
    if "scales" not in arrays:
        return arrays["weight"].astype(mx.float32)
    packed, scales = arrays["weight"], _widened(arrays["scales"])
    kind = {"group_size": layer.group_size, "bits": layer.bits, "mode": layer.mode}
    kind["dtype"] = mx.float32
    global_scale = arrays.get("global_scale")
    if global_scale is None or global_scale.ndim == 0:
        biases = arrays.get("biases")
        biases = None if biases is None else _widened(biases)
        return mx.dequantize(packed, scales, biases, global_scale=global_scale, **kind)
    experts = zip(packed, scales, global_scale, strict=True)
    return mx.stack([mx.dequantize(w, s, global_scale=g, **kind) for w, s, g in experts])


def _widened(scales: mx.array) -> mx.array:
    """In float32, unless they are packed in bytes, as in the microscaling formats."""
    return scales if scales.dtype == mx.uint8 else scales.astype(mx.float32)
