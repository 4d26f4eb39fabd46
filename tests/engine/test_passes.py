"""Every architecture of mlx-lm that runs on a CPU: taps without effect, in every kind of pass."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache
from subjects import (
    INSIDE_ATTENTION,
    PICKS_KEYS,
    TOKENS,
    Subject,
    everything,
    everywhere,
    is_ordered,
)

from benchmarks.architectures import tiny_model
from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.errors import UnknownComponentError
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.structure.resolver import resolve
from engine.taps.observation import observed
from engine.taps.points import Point, sequence_axis

NEXT = [7, 11]


def test_capturing_everything_leaves_the_logits_bit_identical(subject):
    model = subject.kit.model
    cache = make_prompt_cache(model) if subject.structure.needs_cache else None
    untapped = model(mx.array([TOKENS]), cache=cache)
    np.testing.assert_array_equal(subject.result.logits, np.array(untapped.astype(mx.float32)))


def test_a_pass_computes_what_a_pass_with_a_cache_does(subject):
    model = subject.kit.model
    cached = np.array(model(mx.array([TOKENS]), cache=make_prompt_cache(model)).astype(mx.float32))
    np.testing.assert_allclose(subject.result.logits, cached, rtol=1e-5, atol=1e-5)


def test_capturing_everything_leaves_cached_decoding_bit_identical(subject):
    untapped, _ = decoded(subject, subject.structure.shapes, tapped=False)
    tapped, seen = decoded(subject, subject.structure.shapes)
    assert seen
    for ours, theirs in zip(tapped, untapped, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_decoding_captures_what_a_pass_over_the_whole_sequence_does(subject):
    structure = subject.structure
    points = [point for point in structure.shapes if is_ordered(structure, point)]
    _, seen = decoded(subject, points)
    whole = forward(subject.kit, [[*TOKENS, *NEXT]], everywhere(structure)).activations
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
    batch = forward(subject.kit, [TOKENS[::-1], TOKENS], everywhere(subject.structure)).activations
    for hook_id, records in batch.items():
        for both, alone in zip(records, subject.result.activations[hook_id], strict=True):
            if not is_ordered(subject.structure, Point(both.layer, both.component)):
                continue
            np.testing.assert_allclose(both.data[1:], alone.data, rtol=0, atol=1e-4)


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
    subject.requires(C.RESIDUAL)
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
