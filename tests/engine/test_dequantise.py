"""A dequantised layer computes what the quantised one did, from the exact products."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models.afm7 import FusedLinear
from mlx_lm.models.mla import MultiLinear
from mlx_lm.models.switch_layers import SwitchLinear

from engine.models.dequantise import dequantise, dequantise_wrong_on_cuda

X = mx.random.normal((2, 3, 64), key=mx.random.key(1))
HEADS = mx.random.normal((2, 4, 3, 64), key=mx.random.key(2))
EXPERTS = mx.array([[[0, 3], [1, 2], [3, 3]]] * 2)
IDS = mx.array([[3, 15, 0]])

LAYERS = {
    "linear": (nn.Linear(64, 32, bias=True), lambda layer: layer(X)),
    "embedding": (nn.Embedding(16, 64), lambda layer: layer(IDS)),
    "tied output": (nn.Embedding(16, 64), lambda layer: layer.as_linear(X)),
    "experts": (
        SwitchLinear(64, 32, 4, bias=True),
        lambda layer: layer(mx.expand_dims(X, (-2, -3)), EXPERTS),
    ),
    "heads": (MultiLinear(64, 32, 4), lambda layer: layer(HEADS)),
}
FUSED = (FusedLinear(64, [32, 16]), lambda layer: mx.concatenate(layer(X), axis=-1))
AFFINE, MXFP4 = {"group_size": 32, "bits": 4}, {"group_size": 32, "bits": 4, "mode": "mxfp4"}


@pytest.mark.parametrize(
    ("plain", "call", "quantisation"),
    [
        *[(*layer, quantisation) for layer in LAYERS.values() for quantisation in (AFFINE, MXFP4)],
        (*FUSED, AFFINE),
        (*LAYERS["experts"], {"group_size": 16, "bits": 4, "mode": "nvfp4"}),
    ],
)
def test_every_kind_of_layer_gives_the_same_answer(plain, call, quantisation):
    model = nn.Sequential(plain.to_quantized(**quantisation))
    with mx.stream(mx.cpu):  # a GPU multiplies quantised heads of a batch wrongly
        expected = np.array(call(model.layers[0]).astype(mx.float32))
    dequantise(model)
    assert type(model.layers[0]) is type(plain)
    answer = call(model.layers[0])
    assert answer.dtype == mx.float32
    np.testing.assert_allclose(np.array(answer), expected, rtol=1e-2, atol=1e-5)


def test_experts_with_a_scale_each_come_back_within_the_formats_precision():
    experts = SwitchLinear(64, 32, 4, bias=False)
    experts.weight *= mx.array([1, 10, 100, 0.1]).reshape(4, 1, 1)
    model = nn.Sequential(experts.to_quantized(group_size=16, mode="nvfp4", global_scale=True))
    dequantise(model)
    largest = mx.abs(experts.weight).max(axis=(1, 2))
    error = mx.abs(model.layers[0].weight - experts.weight).max(axis=(1, 2))
    assert mx.all(error < 0.2 * largest)


def test_weights_stored_with_half_precision_scales_are_the_exact_products():
    quantised = nn.Linear(64, 32, bias=False).to_quantized(group_size=32, bits=4)
    quantised.set_dtype(mx.float16)
    packed, scales, biases = (np.array(quantised[name]) for name in ("weight", "scales", "biases"))
    levels = (packed[:, :, None] >> np.arange(0, 32, 4, dtype=np.uint32)) & 15
    exact = levels.reshape(32, 2, 32) * scales.astype(np.float64)[:, :, None] + biases[:, :, None]
    model = nn.Sequential(quantised)
    dequantise(model)
    weight = np.array(model.layers[0].weight)
    np.testing.assert_allclose(weight, exact.reshape(32, 64), rtol=0, atol=1e-8)


@pytest.mark.parametrize("quantisation", [AFFINE, MXFP4], ids=["affine", "mxfp4"])
def test_what_a_gpu_multiplies_wrongly_is_plain_there(quantisation):
    heads, call = LAYERS["heads"]
    narrow = nn.QuantizedLinear(64, 8, group_size=64, bits=8)
    wide = nn.QuantizedLinear(64, 32, group_size=32)
    model = nn.Sequential(heads.to_quantized(**quantisation), wide, narrow)
    model.set_dtype(mx.bfloat16)
    with mx.stream(mx.cpu):
        expected = np.array(call(model.layers[0]).astype(mx.float32))
    dequantise_wrong_on_cuda(model)
    plain, wide, narrow = model.layers
    assert (type(plain), type(wide), type(narrow)) == (MultiLinear, nn.QuantizedLinear, nn.Linear)
    assert plain.weight.dtype == mx.bfloat16
    answer = np.array(call(plain).astype(mx.float32))
    np.testing.assert_allclose(answer, expected, rtol=0, atol=3e-2)


@pytest.mark.parametrize(
    ("dtype", "group_size", "kind"),
    [
        (mx.float32, 128, nn.Linear),
        (mx.float16, 128, nn.QuantizedLinear),
        (mx.float32, 64, nn.QuantizedLinear),
    ],
)
def test_what_a_gpu_cannot_multiply_by_many_rows_is_plain_there(dtype, group_size, kind):
    model = nn.Sequential(nn.QuantizedLinear(512, 64, bias=False, group_size=group_size, bits=2))
    model.set_dtype(dtype)
    x = mx.random.normal((16, 512), key=mx.random.key(3)).astype(dtype)
    with mx.stream(mx.cpu):
        expected = np.array(model(x).astype(mx.float32))
    dequantise_wrong_on_cuda(model)
    assert type(model.layers[0]) is kind
    np.testing.assert_allclose(np.array(model(x).astype(mx.float32)), expected, rtol=0, atol=2e-2)


def test_what_was_never_quantised_stays_the_same_object():
    model = nn.Sequential(nn.Linear(64, 32), nn.RMSNorm(32))
    before = list(model.layers)
    dequantise(model)
    assert all(layer is kept for layer, kept in zip(model.layers, before, strict=True))
