"""Gradients at hook points agree with finite differences."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from benchmarks.architectures import tiny_model
from engine.analysis.gradients import gradients
from engine.components import ComponentType as C
from engine.errors import InterventionError
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.kit import ModelKit
from engine.structure.resolver import resolve
from engine.taps.points import Point

TOKENS = [3, 31, 4, 15, 9, 26]
STEP = 1e-3
NO_GRADIENT = {C.ROUTER_CHOICE}


def kit_of(architecture: str, *, bits: int | None = None, **changes) -> ModelKit:
    model = tiny_model(architecture, **changes)
    if bits:
        nn.quantize(model, group_size=32, bits=bits)
    return ModelKit(model, None, {}, architecture, None, resolve(model))


def score(logits: mx.array) -> mx.array:
    return logits[0, -1, 7] - logits[0, -1, 11]


def nudged_score(kit: ModelKit, point: Point, nudge: np.ndarray) -> float:
    name = point.component if point.layer is None else str(point.layer)
    edit = Intervention(name, point.component, "addition", value=nudge)
    logits = forward(kit, [TOKENS], interventions=[edit]).logits.astype(np.float64)
    return logits[0, -1, 7] - logits[0, -1, 11]


SUBJECTS = {
    "float32": lambda: kit_of("llama"),
    "4-bit weights": lambda: kit_of("llama", bits=4, intermediate_size=64),
    "sinks and experts": lambda: kit_of("gpt_oss"),
    "experts": lambda: kit_of("qwen3_moe"),
    "4-bit experts": lambda: kit_of("qwen3_moe", bits=4, moe_intermediate_size=32),
    "latent attention": lambda: kit_of("deepseek_v3"),
}


@pytest.mark.parametrize("make_kit", SUBJECTS.values(), ids=SUBJECTS)
def test_gradients_agree_with_finite_differences_at_every_point(make_kit):
    kit = make_kit()
    points = [p for p in kit.structure.shapes if not p.is_input and p.component not in NO_GRADIENT]
    found = gradients(kit, mx.array([TOKENS]), points, score)
    random = np.random.default_rng(0)
    for point in points:
        gradient = np.array(found.gradients[point])
        nudge = gradient / np.abs(gradient).max() + random.uniform(-1, 1, gradient.shape)
        nudge = (STEP * nudge).astype(np.float32)
        ahead, behind = (nudged_score(kit, point, sign * nudge) for sign in (1, -1))
        expected = (gradient.astype(np.float64) * nudge).sum()
        assert abs(expected) > 1e-5
        assert (ahead - behind) / 2 == pytest.approx(expected, rel=5e-3), point


def test_the_values_and_the_score_are_those_of_the_plain_pass():
    kit = kit_of("llama")
    point = Point(1, C.HEAD_OUTPUT)
    found = gradients(kit, mx.array([TOKENS]), [point], score)
    logits = forward(kit, [TOKENS]).logits
    assert found.score.item() == pytest.approx(logits[0, 0, 7] - logits[0, 0, 11], abs=1e-6)
    assert found.values[point].shape == found.gradients[point].shape == (1, 4, 6, 8)


def test_a_point_that_the_pass_does_not_come_by_has_no_gradient():
    kit = kit_of("llama")
    with pytest.raises(InterventionError, match="router of layer 0"):
        gradients(kit, mx.array([TOKENS]), [Point(0, C.ROUTER)], score)


def test_the_gradient_of_a_logit_by_the_logits_is_one_there_and_zero_elsewhere():
    kit = kit_of("llama")
    point = Point(None, C.LOGITS)
    gradient = np.array(gradients(kit, mx.array([TOKENS]), [point], score).gradients[point])
    expected = np.zeros_like(gradient)
    expected[0, -1, [7, 11]] = 1, -1
    np.testing.assert_array_equal(gradient, expected)
