"""Every architecture of mlx-lm that runs on a CPU: what is captured of it, and that it is exact."""

import re
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models import llama
from subjects import INSIDE_ATTENTION, SQUARE, TOKENS, everything
from tiny import tiny_kit

from benchmarks.architectures import ARCHITECTURES, NOT_ON_A_CPU, tiny_model
from engine.captures.hooks import ActivationHookSpec
from engine.components import NEURONS, PER_HEAD
from engine.components import ComponentType as C
from engine.runs.forward import forward
from engine.structure.resolver import resolve

HIDDEN = {C.EMBEDDING, C.RESIDUAL, C.RESIDUAL_MID, C.LAYERNORM, C.ATTENTION, C.MLP, C.FINAL_NORM}


def test_every_component_is_captured_or_absent_for_a_reason(subject):
    for layer, component in everything(subject.structure):
        captured = bool(subject.captured(component, layer))
        reason = subject.structure.absent.get((layer, component), "")
        assert captured != bool(reason), f"{component} of layer {layer}: {reason!r}"


def test_what_is_captured_has_the_shape_of_its_component(subject):
    hidden = subject.data(C.EMBEDDING, None)[0].shape[-1]
    for layer, component in everything(subject.structure):
        for record in subject.captured(component, layer):
            where = f"{component} of layer {layer}"
            assert record.data.dtype == (np.uint32 if component is C.ROUTER_CHOICE else np.float32)
            assert record.positions == (0, len(TOKENS) - 1), where
            if component in HIDDEN:
                assert record.shape == (1, len(TOKENS), hidden), where
            elif component in NEURONS:
                assert record.shape[:2] == (1, len(TOKENS)), where
                shapes = [each.shape for each in subject.captured(C.EXPERT_OUTPUT, layer)]
                assert shapes == [] or record.shape[2] == shapes[0][2], where
            elif component in SQUARE:
                assert record.shape[2:] == (len(TOKENS), len(TOKENS)), where
            elif component in PER_HEAD:
                assert record.shape[2] == len(TOKENS), where
            else:
                assert record.shape[:2] == (1, len(TOKENS)), where


def test_attention_and_mlp_are_what_the_block_adds_to_the_residual_stream(subject):
    subject.requires(C.RESIDUAL)
    for layer in range(subject.structure.layers):
        before, between, after = (
            subject.data(C.RESIDUAL, layer, is_input=True),
            subject.data(C.RESIDUAL_MID, layer),
            subject.data(C.RESIDUAL, layer),
        )
        attention, mlp = subject.data(C.ATTENTION, layer), subject.data(C.MLP, layer)
        whole = [sum(parts) for parts in zip(before, *filter(None, (attention, mlp)), strict=True)]
        np.testing.assert_allclose(whole, after, rtol=0, atol=1e-5)
        if between:
            halfway = [x + a for x, a in zip(before, attention, strict=True)]
            np.testing.assert_allclose(halfway, between, rtol=0, atol=1e-5)


def test_pattern_times_value_is_the_head_output(subject):
    subject.requires(C.ATTENTION_PATTERN)
    for layer in range(subject.structure.layers):
        for pattern, value, head_output in zip(
            subject.data(C.ATTENTION_PATTERN, layer),
            subject.data(C.VALUE, layer),
            subject.data(C.HEAD_OUTPUT, layer),
            strict=True,
        ):
            value = np.repeat(value, pattern.shape[1] // value.shape[1], axis=1)
            np.testing.assert_allclose(pattern @ value, head_output, rtol=0, atol=1e-5)


def test_rows_of_a_pattern_sum_to_one_less_what_a_sink_takes(subject):
    subject.requires(C.ATTENTION_PATTERN)
    for layer, block in enumerate(subject.kit.model.layers):
        for pattern, scores in zip(
            subject.data(C.ATTENTION_PATTERN, layer),
            subject.data(C.ATTENTION_SCORES, layer),
            strict=True,
        ):
            attended = np.exp(scores.astype(np.float64)).sum(axis=-1)
            sinks = np.exp(sinks_of(block, pattern.shape[1]))[:, None]
            expected = attended / (attended + sinks)
            np.testing.assert_allclose(pattern.sum(axis=-1), expected, rtol=0, atol=1e-5)


def sinks_of(block: nn.Module, heads: int) -> np.ndarray:
    """The sink logit of each head, -inf where attention has none."""
    sinks = [v for m in block.modules() for k, v in m.items() if "sink" in k and v is not None]
    return np.array(sinks[0]) if sinks else np.full(heads, -np.inf)


def test_no_token_attends_to_a_later_one(subject):
    subject.requires(C.ATTENTION_PATTERN)
    later = np.triu(np.ones((len(TOKENS), len(TOKENS)), dtype=bool), k=1)
    for layer in range(subject.structure.layers):
        for pattern in subject.data(C.ATTENTION_PATTERN, layer):
            assert not pattern[..., later].any()


def test_a_router_weighs_the_chosen_experts_and_no_other(subject):
    subject.requires(C.ROUTER)
    for layer in range(subject.structure.layers):
        for weights, choice in zip(
            subject.data(C.ROUTER, layer), subject.data(C.ROUTER_CHOICE, layer), strict=False
        ):
            chosen = np.zeros(weights.shape, dtype=bool)
            np.put_along_axis(chosen, choice.astype(np.int64), True, axis=-1)
            assert choice.shape[-1] == chosen.sum(axis=-1).max()
            assert not weights[~chosen].any()
            assert weights[chosen].all() or "longcat" in subject.name  # an expert may be none


def test_a_block_that_runs_twice_in_a_pass_has_a_record_for_each_time():
    kit = tiny_kit("nanbeige", num_loops=2)
    specs = [ActivationHookSpec("*", C.RESIDUAL, capture_input=True)]
    activations = forward(kit, [TOKENS], specs).activations
    first_in, first_again = (r.data for r in activations["layer_0_residual"] if r.is_input)
    last, last_again = (r.data for r in activations["layer_1_residual"] if not r.is_input)
    norm = kit.model.model.norm
    np.testing.assert_array_equal(first_again, np.array(norm(mx.array(last))))
    assert not np.array_equal(last, last_again)
    assert not np.array_equal(first_in, first_again)


@pytest.mark.slow
def test_nearly_every_architecture_has_every_component():
    structures = [resolve(tiny_model(name)) for name in ARCHITECTURES]
    count = {c: sum(c in structure.components for structure in structures) for c in C}
    assert len(structures) == 123
    assert count[C.EMBEDDING] == count[C.LOGITS] == 123
    assert min(count[c] for c in (C.RESIDUAL, C.ATTENTION, C.MLP)) >= 120
    assert min(count[c] for c in INSIDE_ATTENTION) >= 118  # of 120 with softmax attention
    assert min(count[c] for c in NEURONS) >= 120  # of 121 with an mlp


def test_every_architecture_of_mlx_lm_is_tested_or_named_with_what_it_needs():
    texts = {file.stem: file.read_text() for file in Path(llama.__file__).parent.glob("*.py")}
    defined = re.compile(r"^class Model\(|import Model\b", re.MULTILINE)
    architectures = {name for name, text in texts.items() if defined.search(text)}
    assert set(ARCHITECTURES) | set(NOT_ON_A_CPU) == architectures
