"""Every architecture of mlx-lm that runs on a CPU: what is captured, and that it is exact."""

import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from architectures import ARCHITECTURES, NOT_ON_A_CPU, tiny_model
from mlx_lm.models import llama
from mlx_lm.models.cache import make_prompt_cache
from tiny import tiny_kit

from engine.capture import CapturedActivation
from engine.components import PER_HEAD, WHOLE_MODEL
from engine.components import ComponentType as C
from engine.errors import UnknownComponentError
from engine.forward import ForwardResult, forward
from engine.hooks import ActivationHookSpec
from engine.interventions import Intervention
from engine.kit import ModelKit
from engine.observation import observed
from engine.points import Point, sequence_axis
from engine.structure import Structure, resolve

TOKENS, NEXT = [3, 31, 4, 15, 9, 26, 5, 35], [7, 11]
HIDDEN = {C.EMBEDDING, C.RESIDUAL, C.RESIDUAL_MID, C.LAYERNORM, C.ATTENTION, C.MLP, C.FINAL_NORM}
SQUARE = {C.ATTENTION_SCORES, C.ATTENTION_PATTERN}
BLOCKS_THAT_ADD_MORE = {
    "deepseek_v41",  # several streams
    "falcon_h1",  # a state-space mixer beside attention
    "gemma3n",  # several streams
    "gemma4",  # an input for each layer, and a factor
    "gemma4_text",
    "iquestloopcoder",  # the blocks are woven together in a function of the model's
    "kimi_k3",  # attention over earlier blocks
    "longcat_flash",  # attention and mlp twice in a block, and a shortcut
    "longcat_flash_ngram",
    "rwkv7",  # the first block's stream is normed
    "talkie",  # the embedding again
}
LOOKS_AHEAD = {"phi3small"}  # mlx-lm adds its mask as zeros and ones
INSIDE_ATTENTION = {C.QUERY, C.KEY, C.VALUE, C.HEAD_OUTPUT} | SQUARE
UNORDERED = {C.ROUTER_CHOICE, C.EXPERT_OUTPUT}
READS_MORE_THAN_THE_LAST_BLOCK = {
    "kimi_k3",  # attention over earlier blocks
    "nanbeige",  # the blocks run twice, each time to another value
}
PICKS_KEYS = {"deepseek_v32", "glm_moe_dsa"}  # for a single token, once there are many
DECODES_APART = {
    "gear",  # each head has its keys before they are seen, unless a cache sees them first
    "gemma3n",  # later layers share keys with earlier ones only where there is a cache
    "mistral4",  # for one token, the rotated part of query and key is kept apart
    "plamo3",  # its cache is one token shorter than the window of its mask
    *LOOKS_AHEAD,
}


@dataclass
class Subject:
    """One tiny model, and one pass of it in which everything there is was captured."""

    name: str
    kit: ModelKit
    result: ForwardResult

    @property
    def structure(self) -> Structure:
        return self.kit.structure

    def captured(
        self, component: C, layer: int | None, is_input: bool = False
    ) -> list[CapturedActivation]:
        """One record, more where the pass goes through the layer again, none if it is absent."""
        return [
            record
            for records in self.result.activations.values()
            for record in records
            if (record.component, record.layer, record.is_input) == (component, layer, is_input)
        ]

    def data(self, component: C, layer: int | None, is_input: bool = False) -> list[np.ndarray]:
        return [record.data for record in self.captured(component, layer, is_input)]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def subject(request) -> Subject:
    kit = tiny_kit(request.param)
    result = forward(kit, [TOKENS], everywhere(kit.structure), logits="all")
    return Subject(request.param, kit, result)


def everywhere(structure: Structure) -> list[ActivationHookSpec]:
    """A hook on all that there is, and on the input of each block."""
    return [
        ActivationHookSpec(
            "*" if layer is None else str(layer), component, capture_input=component is C.RESIDUAL
        )
        for layer, component in everything(structure)
        if Point(layer, component) in structure.shapes
    ]


def everything(structure: Structure) -> list[tuple[int | None, C]]:
    layers = range(structure.layers)
    return [(layer, c) for c in C for layer in ([None] if c in WHOLE_MODEL else layers)]


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
            elif component in SQUARE:
                assert record.shape[2:] == (len(TOKENS), len(TOKENS)), where
            elif component in PER_HEAD:
                assert record.shape[2] == len(TOKENS), where
            else:
                assert record.shape[:2] == (1, len(TOKENS)), where


def test_attention_and_mlp_are_what_the_block_adds_to_the_residual_stream(subject):
    if subject.name in BLOCKS_THAT_ADD_MORE:
        return
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
    if subject.name in LOOKS_AHEAD:
        return
    later = np.triu(np.ones((len(TOKENS), len(TOKENS)), dtype=bool), k=1)
    for layer in range(subject.structure.layers):
        for pattern in subject.data(C.ATTENTION_PATTERN, layer):
            assert not pattern[..., later].any()


def test_capturing_everything_leaves_the_logits_bit_identical(subject):
    untapped = subject.kit.model(mx.array([TOKENS]))
    np.testing.assert_array_equal(subject.result.logits, np.array(untapped.astype(mx.float32)))


def test_capturing_everything_leaves_cached_decoding_bit_identical(subject):
    untapped, _ = decoded(subject, subject.structure.shapes, tapped=False)
    tapped, seen = decoded(subject, subject.structure.shapes)
    assert seen
    for ours, theirs in zip(tapped, untapped, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_decoding_captures_what_a_pass_over_the_whole_sequence_does(subject):
    if subject.name in DECODES_APART:
        return
    points = [p for p in subject.structure.shapes if p.component not in UNORDERED]
    _, seen = decoded(subject, points)
    whole = forward(subject.kit, [[*TOKENS, *NEXT]], everywhere(subject.kit.structure)).activations
    for point, value in seen.items():
        records = [r for kept in whole.values() for r in kept if not r.is_input]
        expected = next((r for r in reversed(records) if (r.layer, r.component) == point[:2]), None)
        if expected is None or point.is_input:
            continue
        newest = np.take(expected.data, [-1], axis=sequence_axis(point))
        np.testing.assert_allclose(np.array(value), newest, rtol=0, atol=1e-4, err_msg=str(point))


def decoded(
    subject: Subject, points: Iterable[Point], tapped: bool = True
) -> tuple[list[np.ndarray], dict[Point, mx.array]]:
    """The logits of a prompt and of two tokens after it, and what the last pass went through."""
    seen: dict[Point, mx.array] = {}

    def keep(point: Point) -> Callable:
        def visit(value, span):
            seen[point] = value
            return value

        return visit

    model = subject.kit.model
    if subject.name in PICKS_KEYS:
        points = [p for p in points if p.component not in INSIDE_ATTENTION - {C.QUERY}]
    cache = make_prompt_cache(model)
    with ExitStack() as stack:
        if tapped:
            visitors = {point: keep(point) for point in points}
            stack.enter_context(observed(subject.structure, visitors))
        logits = [model(mx.array([chunk]), cache=cache) for chunk in (TOKENS, *[[t] for t in NEXT])]
    mx.eval(logits, list(seen.values()))
    return [np.array(each.astype(mx.float32)) for each in logits], seen


def test_a_batch_captures_what_each_of_its_sequences_does_alone(subject):
    specs = [s for s in everywhere(subject.structure) if s.component not in UNORDERED]
    batch = forward(subject.kit, [TOKENS[::-1], TOKENS], specs).activations
    for hook_id, records in batch.items():
        for both, alone in zip(records, subject.result.activations[hook_id], strict=True):
            np.testing.assert_allclose(both.data[1:], alone.data, rtol=0, atol=1e-4)


def test_a_router_weighs_the_chosen_experts_and_no_other(subject):
    for layer in range(subject.structure.layers):
        for weights, choice in zip(
            subject.data(C.ROUTER, layer), subject.data(C.ROUTER_CHOICE, layer), strict=False
        ):
            chosen = np.zeros(weights.shape, dtype=bool)
            np.put_along_axis(chosen, choice.astype(np.int64), True, axis=-1)
            assert choice.shape[-1] == chosen.sum(axis=-1).max()
            assert not weights[~chosen].any()
            assert weights[chosen].all() or "longcat" in subject.name  # an expert may be none


def test_a_change_at_any_hook_point_reaches_the_logits(subject):
    for layer, component in everything(subject.structure):
        if component is C.ROUTER_CHOICE or not subject.captured(component, layer):
            continue
        where = "*" if layer is None else str(layer)
        noise = Intervention(where, component, "noise", scale=1.0, seed=3)
        changed = forward(subject.kit, [TOKENS], (), [noise], logits="all").logits
        finite = np.isfinite(changed)
        difference = np.abs(changed[finite] - subject.result.logits[finite])
        assert difference.max() > 1e-5, f"{component} of layer {layer}"


def test_the_last_block_s_output_of_another_prompt_gives_that_prompt_s_logits(subject):
    last = subject.structure.layers - 1
    if not subject.captured(C.RESIDUAL, last) or subject.name in READS_MORE_THAN_THE_LAST_BLOCK:
        return
    spec = ActivationHookSpec(str(last), C.RESIDUAL)
    other = forward(subject.kit, [TOKENS[::-1]], [spec], logits="all")
    (record,) = other.activations[f"layer_{last}_residual"]
    patch = Intervention(str(last), C.RESIDUAL, "replacement", value=record.data)
    patched = forward(subject.kit, [TOKENS], (), [patch], logits="all")
    np.testing.assert_array_equal(patched.logits, other.logits)


@pytest.mark.parametrize("name", sorted(PICKS_KEYS))
def test_a_pattern_over_keys_that_were_picked_is_refused_not_misplaced(name):
    model = tiny_model(name)
    structure, cache = resolve(model), make_prompt_cache(model)
    model(mx.array([TOKENS]), cache=cache)
    pattern = Point(0, C.ATTENTION_PATTERN)
    with (
        observed(structure, {pattern: lambda value, span: value}),
        pytest.raises(UnknownComponentError, match="picked 4 of 9 keys"),
    ):
        model(mx.array([[7]]), cache=cache)


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


def test_nearly_every_architecture_has_every_component():
    structures = [resolve(tiny_model(name)) for name in ARCHITECTURES]
    count = {c: sum(c in structure.components for structure in structures) for c in C}
    assert len(structures) == 123
    assert count[C.EMBEDDING] == count[C.LOGITS] == 123
    assert min(count[c] for c in (C.RESIDUAL, C.ATTENTION, C.MLP)) >= 120
    assert min(count[c] for c in INSIDE_ATTENTION) >= 118  # of 120 with softmax attention


def test_every_architecture_of_mlx_lm_is_tested_or_named_with_what_it_needs():
    texts = {file.stem: file.read_text() for file in Path(llama.__file__).parent.glob("*.py")}
    defined = re.compile(r"^class Model\(|import Model\b", re.MULTILINE)
    architectures = {name for name, text in texts.items() if defined.search(text)}
    assert set(ARCHITECTURES) | set(NOT_ON_A_CPU) == architectures
