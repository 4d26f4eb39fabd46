"""Every architecture of mlx-lm that runs on a CPU: what is captured, and that it is exact."""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from architectures import ARCHITECTURES, tiny_model
from mlx_lm.models.cache import make_prompt_cache

from engine.capture import CapturedActivation
from engine.components import PER_HEAD, WHOLE_MODEL
from engine.components import ComponentType as C
from engine.forward import ForwardResult, forward
from engine.hooks import ActivationHookSpec
from engine.kit import ModelKit
from engine.observation import observed
from engine.points import Point
from engine.structure import Structure, resolve

TOKENS = [3, 31, 4, 15, 9, 26, 5, 35]
HIDDEN = {C.EMBEDDING, C.RESIDUAL, C.RESIDUAL_MID, C.LAYERNORM, C.ATTENTION, C.MLP, C.FINAL_NORM}
SQUARE = {C.ATTENTION_SCORES, C.ATTENTION_PATTERN}
INSIDE_ATTENTION = {C.QUERY, C.KEY, C.VALUE, C.HEAD_OUTPUT} | SQUARE
NO_SOFTMAX_ATTENTION = {"mamba", "mamba2", "rwkv7"}


@dataclass
class Subject:
    """One tiny model, and one pass of it in which everything there is was captured."""

    name: str
    kit: ModelKit
    result: ForwardResult

    @property
    def structure(self) -> Structure:
        return self.kit.structure

    def captured(self, component: C, layer: int | None) -> CapturedActivation | None:
        return next(
            (
                record
                for records in self.result.activations.values()
                for record in records
                if (record.component, record.layer) == (component, layer)
            ),
            None,
        )


@pytest.fixture(scope="module", params=ARCHITECTURES)
def subject(request) -> Subject:
    model = tiny_model(request.param)
    kit = ModelKit(model, None, {}, request.param, None, resolve(model))
    specs = [
        ActivationHookSpec("*" if layer is None else str(layer), component)
        for layer, component in everything(kit.structure)
        if Point(layer, component) in kit.structure.shapes
    ]
    return Subject(request.param, kit, forward(kit, [TOKENS], specs, logits="all"))


def everything(structure: Structure) -> list[tuple[int | None, C]]:
    layers = range(structure.layers)
    return [(layer, c) for c in C for layer in ([None] if c in WHOLE_MODEL else layers)]


def test_every_component_is_captured_or_absent_for_a_reason(subject):
    for layer, component in everything(subject.structure):
        captured = subject.captured(component, layer) is not None
        reason = subject.structure.absent.get((layer, component), "")
        assert captured != bool(reason), f"{component} of layer {layer}: {reason!r}"


def test_what_is_captured_has_the_shape_of_its_component(subject):
    hidden = subject.captured(C.EMBEDDING, None).shape[-1]
    for layer, component in everything(subject.structure):
        record = subject.captured(component, layer)
        if record is None:
            continue
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


def test_pattern_times_value_is_the_head_output(subject):
    for layer in range(subject.structure.layers):
        pattern = subject.captured(C.ATTENTION_PATTERN, layer)
        if pattern is None:
            continue
        value = subject.captured(C.VALUE, layer).data
        value = np.repeat(value, pattern.shape[1] // value.shape[1], axis=1)
        head_output = subject.captured(C.HEAD_OUTPUT, layer).data
        np.testing.assert_allclose(pattern.data @ value, head_output, rtol=0, atol=1e-5)


def test_rows_of_a_pattern_sum_to_one_less_what_a_sink_takes(subject):
    for layer, block in enumerate(subject.kit.model.layers):
        pattern = subject.captured(C.ATTENTION_PATTERN, layer)
        if pattern is None:
            continue
        scores = subject.captured(C.ATTENTION_SCORES, layer).data.astype(np.float64)
        attended = np.exp(scores).sum(axis=-1)
        expected = attended / (attended + np.exp(sinks_of(block, pattern.shape[1]))[:, None])
        np.testing.assert_allclose(pattern.data.sum(axis=-1), expected, rtol=0, atol=1e-5)


def sinks_of(block: nn.Module, heads: int) -> np.ndarray:
    """The sink logit of each head, -inf where attention has none."""
    sinks = [v for m in block.modules() for k, v in m.items() if "sink" in k and v is not None]
    return np.array(sinks[0]) if sinks else np.full(heads, -np.inf)


def test_a_pattern_is_causal(subject):
    for layer in range(subject.structure.layers):
        pattern = subject.captured(C.ATTENTION_PATTERN, layer)
        if pattern is not None and subject.name != "phi3small":  # whose masks mlx-lm adds as 0 or 1
            above = np.triu(np.ones(pattern.shape[2:], dtype=bool), k=1)
            assert not pattern.data[..., above].any()


def test_capturing_everything_leaves_the_logits_bit_identical(subject):
    untapped = subject.kit.model(mx.array([TOKENS]))
    np.testing.assert_array_equal(subject.result.logits, np.array(untapped.astype(mx.float32)))


def test_capturing_everything_leaves_cached_decoding_bit_identical(subject):
    model, structure = subject.kit.model, subject.kit.structure
    seen: dict[Point, mx.array] = {}

    def keep(point: Point) -> Callable:
        def visit(value, span):
            seen[point] = value
            return value

        return visit

    def decoded() -> list[np.ndarray]:
        cache = make_prompt_cache(model)
        logits = [model(mx.array([chunk]), cache=cache) for chunk in (TOKENS, [7], [11])]
        mx.eval(logits, list(seen.values()))
        return [np.array(each.astype(mx.float32)) for each in logits]

    untapped = decoded()
    with observed(structure, {point: keep(point) for point in structure.shapes}):
        tapped = decoded()
    assert seen
    for ours, theirs in zip(tapped, untapped, strict=True):
        np.testing.assert_array_equal(ours, theirs)
