"""Captures agree with transformers in PyTorch: the same weights, other people's code."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_models import REFERENCES, reference_model, save

from engine.captures.hooks import ActivationHookSpec
from engine.captures.records import CapturedActivation
from engine.components import ComponentType
from engine.runs.forward import ForwardResult, forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit, load_model, tokenize

TOKENS = [3, 31, 4, 15, 9, 26, 5, 35, 8, 93, 23, 84, 62, 64, 33, 83, 27, 95, 2]
EVERYWHERE = [
    ActivationHookSpec("*", ComponentType.RESIDUAL),
    ActivationHookSpec("*", ComponentType.ATTENTION_PATTERN),
    ActivationHookSpec("*", ComponentType.FINAL_NORM),
    ActivationHookSpec("*", ComponentType.MLP_GATE),
    ActivationHookSpec("*", ComponentType.MLP_HIDDEN),
]


pytestmark = pytest.mark.slow


@dataclass
class Reference:
    """What transformers calculates: each block's output, each pattern, the norm, the logits.

    `neurons` are each layer's MLP before the activation function and before the down projection,
    of a mixture of experts ``[batch, seq, expert, d_expert]``, as if each token chose them all.
    """

    model: torch.nn.Module
    blocks: list[np.ndarray]
    neurons: list[tuple[np.ndarray, np.ndarray]]
    patterns: list[np.ndarray]
    final_norm: np.ndarray
    logits: np.ndarray


def run(model: torch.nn.Module, tokens: list[int]) -> Reference:
    blocks: list[np.ndarray] = []
    neurons: list[tuple[np.ndarray, np.ndarray]] = []

    def keep(_module, _inputs, output):
        blocks.append((output[0] if isinstance(output, tuple) else output).numpy())

    inner = model.base_model
    layers = getattr(inner, "layers", None) or inner.h
    handles = [block.register_forward_hook(keep) for block in layers]
    handles += [handle for block in layers for handle in watch_neurons(block.mlp, neurons)]
    with torch.no_grad():
        result = model(torch.tensor([tokens]), output_attentions=True, output_hidden_states=True)
    for handle in handles:
        handle.remove()
    patterns = [pattern.numpy() for pattern in result.attentions]
    return Reference(
        model, blocks, neurons, patterns, result.hidden_states[-1].numpy(), result.logits.numpy()
    )


def watch_neurons(mlp: torch.nn.Module, seen: list) -> list:
    """Hooks that add what the MLP's activation function and its down projection are given."""
    parts = dict(mlp.named_modules())
    if "experts" in parts:

        def keep(experts, inputs, _output):
            seen.append(neurons_of_all_experts(experts, inputs[0]))

        return [parts["experts"].register_forward_hook(keep)]
    activation = next(part for name, part in parts.items() if "act" in name)
    down = next(part for name, part in parts.items() if name in ("down_proj", "c_proj"))
    gates: list[np.ndarray] = []

    def keep_gate(_module, inputs, _output):
        gates.append(inputs[0].numpy())

    def keep_hidden(_module, inputs, _output):
        seen.append((gates.pop(), inputs[0].numpy()))

    return [
        activation.register_forward_hook(keep_gate),
        down.register_forward_hook(keep_hidden),
    ]


def neurons_of_all_experts(experts: torch.nn.Module, tokens: torch.Tensor) -> tuple:
    """By hand, from the weights that the experts of a layer are stacked in."""
    weight = experts.gate_up_proj
    if hasattr(experts, "gate_up_proj_bias"):  # of gpt_oss
        both = torch.einsum("th,ehn->ten", tokens, weight) + experts.gate_up_proj_bias
        gate, hidden = both[..., ::2], experts._apply_gate(both)
    else:
        gate, up = torch.einsum("th,enh->ten", tokens, weight).chunk(2, dim=-1)
        hidden = experts.act_fn(gate) * up
    return gate.detach().numpy()[None], hidden.detach().numpy()[None]


@pytest.fixture(scope="module", params=REFERENCES)
def folder_and_reference(request, tmp_path_factory) -> tuple[Path, Reference]:
    model = reference_model(request.param)
    return save(model, tmp_path_factory.mktemp("reference")), run(model, TOKENS)


@pytest.fixture(scope="module")
def kit(folder_and_reference) -> ModelKit:
    return load_model(folder_and_reference[0])


@pytest.fixture(scope="module")
def theirs(folder_and_reference) -> Reference:
    return folder_and_reference[1]


@pytest.fixture(scope="module")
def ours(kit) -> ForwardResult:
    choice = ActivationHookSpec("*", ComponentType.ROUTER_CHOICE)
    has_experts = choice.component in kit.structure.components
    return forward(kit, [TOKENS], [*EVERYWHERE, *([choice] if has_experts else [])], logits="all")


def captured(result: ForwardResult, component: ComponentType) -> list[CapturedActivation]:
    """The records of a component, in the order of the layers."""
    records = [record for kept in result.activations.values() for record in kept]
    return sorted((r for r in records if r.component is component), key=lambda r: r.layer)


def assert_close(ours: np.ndarray, theirs: np.ndarray, within: float) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=within)


def test_the_residual_stream_after_every_block_is_the_reference_s(ours, theirs):
    records = captured(ours, ComponentType.RESIDUAL)
    assert len(records) == len(theirs.blocks)
    for record, block in zip(records, theirs.blocks, strict=True):
        assert_close(record.data, block, within=2e-5)
    final_norm = ours.activations["final_norm_output"][0].data
    assert_close(final_norm, theirs.final_norm, within=2e-5)


def test_every_attention_pattern_is_the_reference_s(ours, theirs):
    records = captured(ours, ComponentType.ATTENTION_PATTERN)
    assert len(records) == len(theirs.patterns)
    for record, pattern in zip(records, theirs.patterns, strict=True):
        assert_close(record.data, pattern, within=5e-6)


def test_the_neurons_of_every_mlp_are_the_reference_s(kit, ours, theirs):
    gates = captured(ours, ComponentType.MLP_GATE)
    hidden = captured(ours, ComponentType.MLP_HIDDEN)
    assert len(gates) == len(hidden) == len(theirs.neurons)
    for layer, expected in enumerate(theirs.neurons):
        choice = ours.activations.get(f"layer_{layer}_router_choice")
        for record, reference in zip((gates[layer], hidden[layer]), expected, strict=True):
            if choice:
                chosen = choice[0].data[..., None].astype(int)
                reference = np.take_along_axis(reference, chosen, axis=2)
            assert_close(record.data, reference, within=2e-5)


def test_the_logits_are_the_reference_s(ours, theirs):
    assert_close(ours.logits, theirs.logits, within=2e-5)


def test_generation_takes_the_reference_s_tokens_past_every_window(kit, theirs):
    steps = create_generator_with_activations(kit, TOKENS, max_tokens=12)
    tokens = [result.token for result, _ in steps]
    theirs.model.generation_config.eos_token_id = None
    expected = theirs.model.generate(
        torch.tensor([TOKENS]), max_new_tokens=len(tokens), do_sample=False
    )
    assert tokens == expected[0, len(TOKENS) :].tolist()


def test_smollm2_s_residual_stream_and_patterns_are_the_reference_s(
    smollm2_path, smollm2_reference
):
    kit = load_model(smollm2_path)
    tokens = tokenize(kit, "When Mary and John went to the store, John gave a drink to")
    smollm2_reference.set_attn_implementation("eager")
    theirs = run(smollm2_reference, tokens)
    ours = forward(kit, [tokens], EVERYWHERE, logits="all")
    for record, block in zip(captured(ours, ComponentType.RESIDUAL), theirs.blocks, strict=True):
        assert_close(record.data, block, within=1e-5 * np.abs(block).max())
    patterns = captured(ours, ComponentType.ATTENTION_PATTERN)
    for record, pattern in zip(patterns, theirs.patterns, strict=True):
        assert_close(record.data, pattern, within=1e-4)
    for layer, expected in enumerate(theirs.neurons):
        for component, neurons in zip(("mlp_gate", "mlp_hidden"), expected, strict=True):
            (record,) = ours.activations[f"layer_{layer}_{component}"]
            assert_close(record.data, neurons, within=1e-5 * np.abs(neurons).max())
    assert_close(ours.logits, theirs.logits, within=1e-3)
