"""Weights by the field's names are those of transformers' modules, in the field's orientation."""

from dataclasses import replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch
from reference_models import REFERENCES, reference_model, save
from tiny import tiny_kit

from engine.runs.kit import ModelKit, load_model
from engine.structure.resolver import resolve

pytestmark = pytest.mark.slow

LAYER = 2
FUSED_OR_LATENT = {
    "gpt2",
    "phi3",
    "phi3, sliding window",
    "deepseek_v3",
}
EXPERTS = {"mixtral", "mixtral, sliding window", "gpt_oss, truncated", "gpt_oss, not truncated"}
EXPERTS |= {"qwen3_moe", "deepseek_v3"}


@pytest.fixture(scope="module", params=REFERENCES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def theirs(name) -> torch.nn.Module:
    return reference_model(name)


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory) -> ModelKit:
    return load_model(save(theirs, tmp_path_factory.mktemp("reference")))


def read(kit: ModelKit, name: str, **part) -> np.ndarray:
    return kit.weights.read(name, **part).arrays[name]


def numbers(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().numpy()


def by_head(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a projection as ``[head, d_model, d_head]``."""
    return matrix.reshape(heads, -1, matrix.shape[-1]).swapaxes(1, 2)


def block_of(theirs: torch.nn.Module) -> torch.nn.Module:
    inner = theirs.base_model
    return (inner.layers if hasattr(inner, "layers") else inner.h)[LAYER]


def test_projections_of_attention_are_the_reference_s(name, ours, theirs):
    if name in FUSED_OR_LATENT:
        pytest.skip("has no projection of its own for query, key and value")
    attention = block_of(theirs).self_attn
    heads, kv_heads = theirs.config.num_attention_heads, theirs.config.num_key_value_heads
    for letter, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
        module = getattr(attention, f"{letter}_proj")
        expected = by_head(numbers(module.weight), count)
        weight = read(ours, f"W_{letter.upper()}", layer=LAYER)
        np.testing.assert_allclose(weight, expected, atol=1e-6)
        if module.bias is not None:
            bias = read(ours, f"b_{letter.upper()}", layer=LAYER)
            np.testing.assert_allclose(bias, numbers(module.bias).reshape(count, -1), atol=1e-6)
    output = numbers(attention.o_proj.weight)
    expected = output.T.reshape(heads, -1, output.shape[0])
    np.testing.assert_allclose(read(ours, "W_O", layer=LAYER), expected, atol=1e-6)


def test_gpt2_s_fused_projection_is_split_as_the_reference_splits_it(theirs, ours, name):
    if name != "gpt2":
        pytest.skip("another model")
    attention, mlp = block_of(theirs).attn, block_of(theirs).mlp
    for letter, part in zip(
        "QKV", numbers(attention.c_attn.weight).T.reshape(3, 64, 64), strict=True
    ):
        np.testing.assert_array_equal(read(ours, f"W_{letter}", layer=LAYER), by_head(part, 4))
    for letter, part in zip("QKV", numbers(attention.c_attn.bias).reshape(3, 4, 16), strict=True):
        np.testing.assert_array_equal(read(ours, f"b_{letter}", layer=LAYER), part)
    output = numbers(attention.c_proj.weight).reshape(4, 16, 64)
    np.testing.assert_array_equal(read(ours, "W_O", layer=LAYER), output)
    np.testing.assert_array_equal(read(ours, "W_in", layer=LAYER), numbers(mlp.c_fc.weight))
    np.testing.assert_array_equal(read(ours, "W_out", layer=LAYER), numbers(mlp.c_proj.weight))
    np.testing.assert_array_equal(read(ours, "W_pos"), numbers(theirs.transformer.wpe.weight))


def test_phi3_s_fused_projections_are_split_as_the_reference_splits_them(theirs, ours, name):
    if not name.startswith("phi3"):
        pytest.skip("another model")
    block = block_of(theirs)
    query, key, value = np.split(numbers(block.self_attn.qkv_proj.weight), [64, 96])
    for letter, part, heads in (("Q", query, 4), ("K", key, 2), ("V", value, 2)):
        np.testing.assert_array_equal(read(ours, f"W_{letter}", layer=LAYER), by_head(part, heads))
    gate, up = np.split(numbers(block.mlp.gate_up_proj.weight), 2)
    np.testing.assert_array_equal(read(ours, "W_gate", layer=LAYER), gate.T)
    np.testing.assert_array_equal(read(ours, "W_in", layer=LAYER), up.T)


def test_projections_of_the_mlp_are_the_reference_s(name, theirs, ours):
    mlp = block_of(theirs).mlp
    if name in EXPERTS or not hasattr(mlp, "gate_proj"):
        pytest.skip("has no gated MLP of three linear layers")
    for weight, module in (("W_gate", mlp.gate_proj), ("W_in", mlp.up_proj)):
        np.testing.assert_allclose(
            read(ours, weight, layer=LAYER), numbers(module.weight).T, atol=1e-6
        )
    np.testing.assert_allclose(
        read(ours, "W_out", layer=LAYER), numbers(mlp.down_proj.weight).T, atol=1e-6
    )


def test_the_weights_of_one_expert_are_the_reference_s(name, theirs, ours):
    if name not in EXPERTS or name.startswith("gpt_oss"):
        pytest.skip("has no experts that the reference keeps with their outputs first")
    experts = block_of(theirs).mlp.experts
    gate, up = np.split(numbers(experts.gate_up_proj)[3], 2)
    for weight, expected in (("W_gate", gate.T), ("W_in", up.T)):
        np.testing.assert_array_equal(read(ours, weight, layer=LAYER, expert=3), expected)
    down = numbers(experts.down_proj)[3].T
    np.testing.assert_array_equal(read(ours, "W_out", layer=LAYER, expert=3), down)
    router = numbers(block_of(theirs).mlp.gate.weight).T
    np.testing.assert_array_equal(read(ours, "W_router", layer=LAYER), router)


def test_gpt_oss_s_interleaved_experts_are_told_apart(name, theirs, ours):
    if not name.startswith("gpt_oss"):
        pytest.skip("another model")
    experts = block_of(theirs).mlp.experts
    both, bias = numbers(experts.gate_up_proj)[3], numbers(experts.gate_up_proj_bias)[3]
    for part, index in (("gate", 0), ("in", 1)):
        weight = read(ours, f"W_{part}", layer=LAYER, expert=3)
        np.testing.assert_array_equal(weight, both[:, index::2])
        added = read(ours, f"b_{part}", layer=LAYER, expert=3)
        np.testing.assert_array_equal(added, bias[index::2])
    down = numbers(experts.down_proj)[3]
    np.testing.assert_array_equal(read(ours, "W_out", layer=LAYER, expert=3), down)


def test_embedding_and_unembedding_are_the_reference_s(name, theirs, ours):
    factor = 8.0 if name.startswith("gemma") else 1.0  # the root of the width
    table = numbers(theirs.get_input_embeddings().weight)
    np.testing.assert_allclose(read(ours, "W_E"), factor * table, rtol=1e-6)
    unembedding = numbers(theirs.get_output_embeddings().weight).T
    np.testing.assert_allclose(read(ours, "W_U"), unembedding, rtol=1e-6)


@pytest.mark.parametrize("architecture", ["llama", "phi3", "mixtral"])
def test_quantised_weights_are_dequantised_as_mlx_does(architecture):
    kit = tiny_kit(architecture, hidden_size=64, intermediate_size=64)
    plain = tiny_kit(architecture, hidden_size=64, intermediate_size=64)
    nn.quantize(kit.model, group_size=32, bits=8)
    kit = replace(kit, structure=resolve(kit.model))
    for name, part in (
        ("W_Q", {"layer": 1, "head": 2}),
        ("W_out", {"layer": 1, "neuron": 5}),
        ("W_E", {"tokens": [7, 3]}),
        ("W_U", {"tokens": [9]}),
    ):
        ours, before = read(kit, name, **part), read(plain, name, **part)
        assert ours.shape == before.shape
        assert 0 < np.abs(ours - before).max() < 0.01, name
    packed = kit.model.model.layers[1].self_attn.o_proj
    whole = mx.dequantize(packed.weight, packed.scales, packed.biases, 32, 8)
    heads = np.array(whole).T.reshape(kit.info.heads, -1, 64)
    np.testing.assert_array_equal(read(kit, "W_O", layer=1, head=3), heads[3])
