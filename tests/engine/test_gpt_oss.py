"""gpt-oss: a folder in 4 bits, and what its routers choose and its experts answer."""

import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from benchmarks.architectures import YARN, tiny_config, tiny_model
from benchmarks.reference_capture import stacked_by_hand
from benchmarks.words import words
from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.models.dequantise import dequantise_wrong_on_cuda
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit, load_model
from engine.structure.resolver import resolve

TOKENS = [3, 31, 4, 15, 9, 26, 5, 35, 8, 41]
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_local_experts": 8,
    "num_experts_per_tok": 3,
    "rope_scaling": YARN | {"truncate": True},
}
EXPERTS = (C.ROUTER, C.ROUTER_CHOICE, C.EXPERT_OUTPUT)


@pytest.fixture(scope="module")
def quantised() -> nn.Module:
    """A tiny model quantised as mlx-lm quantises gpt-oss: 4 bits, group 32; routers in 8 bits."""
    model = tiny_model("gpt_oss", **SHAPE)

    def how(path: str, module: nn.Module) -> bool | dict:
        return hasattr(module, "to_quantized") and model.quant_predicate(path, module)

    nn.quantize(model, group_size=32, bits=4, class_predicate=how)
    return model


@pytest.fixture(scope="module")
def folder(quantised, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gpt-oss-q4")
    routers = {f"model.layers.{n}.mlp.router": {"group_size": 64, "bits": 8} for n in range(2)}
    quantisation = {"group_size": 32, "bits": 4, **routers}
    config = tiny_config("gpt_oss") | SHAPE | {"quantization": quantisation}
    (folder / "config.json").write_text(json.dumps(config))
    mx.save_safetensors(
        str(folder / "model.safetensors"), dict(tree_flatten(quantised.parameters()))
    )
    words(config["vocab_size"]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def kit(folder) -> ModelKit:
    return load_model(folder, dtype="float32")  # as a CPU does by itself


def test_a_folder_in_4_bits_computes_what_its_quantised_weights_do(kit, quantised):
    logits = forward(kit, [TOKENS], logits="all").logits
    with mx.stream(mx.cpu):  # a GPU multiplies by the quantised router wrongly
        expected = quantised(mx.array([TOKENS])).astype(mx.float32)
        mx.eval(expected)
    np.testing.assert_allclose(logits, np.array(expected), rtol=0, atol=1e-4)


def test_quantised_and_plain_experts_are_captured_alike(kit, quantised):
    if mx.cuda.is_available():
        dequantise_wrong_on_cuda(quantised)
    in_bits = ModelKit(quantised, None, {}, "in 4 bits", None, resolve(quantised))
    specs = [ActivationHookSpec("*", component) for component in C]
    plain = forward(kit, [TOKENS], specs).activations
    for hook_id, (record,) in forward(in_bits, [TOKENS], specs).activations.items():
        np.testing.assert_allclose(record.data, plain[hook_id][0].data, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_router_s_choice_and_weights_are_the_softmax_of_its_best_logits(kit, layer):
    routed = captured(kit, layer)
    router = kit.model.model.layers[layer].mlp.router
    logits = routed[C.MLP] @ np.array(router.weight).T + np.array(router.bias)
    best = np.argsort(-logits, axis=-1)[..., :3]
    np.testing.assert_array_equal(np.sort(routed[C.ROUTER_CHOICE]), np.sort(best))
    exponentials = np.exp(np.take_along_axis(logits, best, axis=-1).astype(np.float64))
    weights = np.zeros_like(logits)
    shares = exponentials / exponentials.sum(axis=-1, keepdims=True)
    np.put_along_axis(weights, best, shares.astype(np.float32), axis=-1)
    np.testing.assert_allclose(routed[C.ROUTER], weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", [0, 1])
def test_each_chosen_expert_s_output_is_that_expert_s(kit, layer):
    routed = captured(kit, layer)
    experts = kit.model.model.layers[layer].mlp.experts
    for position, chosen in enumerate(routed[C.ROUTER_CHOICE][0]):
        for rank, expert in enumerate(chosen):
            output = expert_output(experts, expert, routed[C.MLP][0, position])
            captured_output = routed[C.EXPERT_OUTPUT][0, position, rank]
            np.testing.assert_allclose(captured_output, output, rtol=0, atol=1e-5)


def expert_output(experts: nn.Module, expert: int, x: np.ndarray) -> np.ndarray:
    """One expert, by the formula of OpenAI's model card: a clamped, shifted SwiGLU."""

    def linear(layer: nn.Module, x: np.ndarray) -> np.ndarray:
        return np.array(layer.weight)[expert] @ x + np.array(layer.bias)[expert]

    gate = np.minimum(linear(experts.gate_proj, x), 7.0)
    up = np.clip(linear(experts.up_proj, x), -7.0, 7.0)
    return linear(experts.down_proj, gate / (1 + np.exp(-1.702 * gate)) * (up + 1))


@pytest.mark.parametrize("layer", [0, 1])
def test_weighted_experts_sum_to_the_mlp_s_contribution(kit, layer):
    routed = captured(kit, layer)
    weights = np.take_along_axis(routed[C.ROUTER], routed[C.ROUTER_CHOICE].astype(int), axis=-1)
    mlp = forward(kit, [TOKENS], [ActivationHookSpec(str(layer), C.MLP)]).activations
    total = (weights[..., None] * routed[C.EXPERT_OUTPUT]).sum(axis=-2)
    np.testing.assert_allclose(total, mlp[f"layer_{layer}_mlp"][0].data, rtol=0, atol=1e-5)


def test_a_generation_captures_what_each_token_s_experts_do(kit):
    specs = [ActivationHookSpec("*", component) for component in EXPERTS]
    for step, (_, activations) in enumerate(
        create_generator_with_activations(kit, TOKENS, specs, max_tokens=4)
    ):
        length = 1 if step else len(TOKENS)
        for layer in range(2):
            shapes = [activations[f"layer_{layer}_{c}"][0].shape for c in EXPERTS]
            assert shapes == [(1, length, 8), (1, length, 3), (1, length, 3, 64)]


def captured(kit: ModelKit, layer: int) -> dict[C, np.ndarray]:
    """What the experts of a layer do; the mlp's input in place of the mlp."""
    specs = [ActivationHookSpec(str(layer), component) for component in EXPERTS]
    specs.append(ActivationHookSpec(str(layer), C.MLP, capture_input=True, capture_output=False))
    activations = forward(kit, [TOKENS], specs).activations
    return {records[0].component: records[0].data for records in activations.values()}


def test_a_generation_captures_what_mlx_lm_s_own_loop_gives_when_stacked_by_hand(kit):
    residual = [ActivationHookSpec("*", C.RESIDUAL)]
    steps = create_generator_with_activations(kit, TOKENS, residual, max_tokens=5)
    by_hand = list(stacked_by_hand(kit.model, TOKENS, 5))
    assert len(by_hand) == 5
    for (_, activations), expected in zip(steps, by_hand, strict=True):
        newest = [record.data[:, -1:] for (record,) in activations.values()]
        np.testing.assert_array_equal(newest, expected)
