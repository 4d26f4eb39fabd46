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
]


pytestmark = pytest.mark.slow


@dataclass
class Reference:
    """What transformers calculates: each block's output, each pattern, the norm, the logits."""

    model: torch.nn.Module
    blocks: list[np.ndarray]
    patterns: list[np.ndarray]
    final_norm: np.ndarray
    logits: np.ndarray


def run(model: torch.nn.Module, tokens: list[int]) -> Reference:
    blocks: list[np.ndarray] = []

    def keep(_module, _inputs, output):
        blocks.append((output[0] if isinstance(output, tuple) else output).numpy())

    inner = model.base_model
    handles = [
        block.register_forward_hook(keep) for block in getattr(inner, "layers", None) or inner.h
    ]
    with torch.no_grad():
        result = model(torch.tensor([tokens]), output_attentions=True, output_hidden_states=True)
    for handle in handles:
        handle.remove()
    patterns = [pattern.numpy() for pattern in result.attentions]
    return Reference(
        model, blocks, patterns, result.hidden_states[-1].numpy(), result.logits.numpy()
    )


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
    return forward(kit, [TOKENS], EVERYWHERE, logits="all")


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
    assert_close(ours.logits, theirs.logits, within=1e-3)
