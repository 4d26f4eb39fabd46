"""A long sequence runs in several passes, and gives what one pass over it does."""

import numpy as np
import pytest
from subjects import SQUARE, TOKENS, everywhere, is_ordered
from tiny import PROMPT, tiny_kit

from engine.analysis.circuits import patch_effects
from engine.analysis.logit_lens import logit_lens
from engine.analysis.task import Task
from engine.captures.hooks import ActivationHookSpec
from engine.errors import InterventionError
from engine.interventions.intervention import Intervention
from engine.runs import footprint
from engine.runs.chunks import passes_over
from engine.runs.forward import forward
from engine.taps.points import Point

BATCH = [PROMPT, PROMPT[::-1]]
RANDOM = np.random.default_rng(0)


def test_chunks_capture_what_one_pass_does(subject):
    specs = everywhere(subject.structure)
    cut = forward(subject.kit, [TOKENS], specs, logits="all", prefill_step_size=3)
    np.testing.assert_allclose(cut.logits, subject.result.logits, rtol=0, atol=1e-4)
    assert cut.activations.keys() == subject.result.activations.keys()
    for hook_id, records in subject.result.activations.items():
        for record, joined in zip(records, cut.activations[hook_id], strict=True):
            assert record.metadata == joined.metadata
            if is_ordered(subject.structure, Point(record.layer, record.component)):
                np.testing.assert_allclose(joined.data, record.data, rtol=0, atol=1e-4)


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2", "mamba", "falcon_h1"])
def kit(request):
    return tiny_kit(request.param)


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma3_text"])
def attending(request):
    return tiny_kit(request.param)


def assert_equal(cut, whole):
    np.testing.assert_allclose(cut.logits, whole.logits, rtol=0, atol=1e-4)
    for hook_id, (record,) in whole.activations.items():
        (joined,) = cut.activations[hook_id]
        assert joined.metadata == record.metadata
        atol = 1e-2 if record.dtype == "float16" else 1e-4
        np.testing.assert_allclose(joined.data, record.data, rtol=0, atol=atol)


@pytest.mark.parametrize("size", [1, 5, 7, 15, 16])
@pytest.mark.parametrize("logits", ["last", "all"])
def test_any_length_of_chunk_and_any_batch(kit, size, logits):
    specs = [
        ActivationHookSpec("*", "residual", dtype="float16"),
        ActivationHookSpec("transformer.wte"),
    ]
    whole = forward(kit, BATCH, specs, logits=logits)
    assert_equal(forward(kit, BATCH, specs, logits=logits, prefill_step_size=size), whole)


@pytest.mark.parametrize("positions", [(9, 2, -1, 5), "prompt", "all"])
def test_positions_keep_the_order_in_which_they_are_asked_for(kit, positions):
    specs = [ActivationHookSpec("1", "residual", positions=positions)]
    assert_equal(forward(kit, BATCH, specs, prefill_step_size=4), forward(kit, BATCH, specs))


def test_rows_of_chosen_heads_and_positions_are_as_long_as_the_sequence(attending):
    specs = [
        ActivationHookSpec("*", component, component, heads=(2, 0), positions=(12, 3))
        for component in SQUARE
    ]
    cut = forward(attending, BATCH, specs, prefill_step_size=4)
    assert_equal(cut, forward(attending, BATCH, specs))


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "ablation"},
        {"operation": "scaling", "factor": 3.0, "positions": (2, 9)},
        {"operation": "addition", "value": RANDOM.normal(size=(1, 16, 32))},
        {"operation": "addition", "value": RANDOM.normal(size=(1, 16, 32)), "positions": "prompt"},
        {
            "operation": "replacement",
            "value": RANDOM.normal(size=(1, 3, 32)),
            "positions": (14, 1, 7),
        },
        {"operation": "noise", "scale": 1.0, "seed": 3},
    ],
    ids=lambda change: f"{change['operation']} {change.get('positions')}",
)
def test_interventions_change_what_they_do_in_one_pass(kit, change):
    edits = [Intervention("0", "residual", **change)]
    whole = forward(kit, BATCH, interventions=edits, logits="all")
    plain = forward(kit, BATCH, logits="all")
    assert np.abs(whole.logits - plain.logits).max() > 1e-3
    cut = forward(kit, BATCH, interventions=edits, logits="all", prefill_step_size=5)
    assert_equal(cut, whole)


def test_a_whole_pattern_replaces_the_rows_of_each_chunk(attending):
    pattern = np.tril(RANDOM.random((1, 4, 16, 16)))
    edits = [
        Intervention("0", "attention_pattern", "replacement", value=pattern),
        Intervention("1", "attention_scores", "addition", heads=(1,), value=pattern[:, :1]),
    ]
    whole = forward(attending, BATCH, interventions=edits, logits="all")
    cut = forward(attending, BATCH, interventions=edits, logits="all", prefill_step_size=5)
    assert_equal(cut, whole)


def test_what_needs_the_whole_sequence_gets_it(kit):
    seen = []

    def function(value, point, positions):
        seen.append(positions)

    edits = [
        Intervention("0", "residual", "mean"),
        Intervention("1", "residual", "function", function=function),
    ]
    whole = forward(kit, BATCH, interventions=edits)
    assert_equal(forward(kit, BATCH, interventions=edits, prefill_step_size=5), whole)
    assert seen == [tuple(range(16))] * 2


def test_a_value_that_does_not_fit_is_still_an_error(kit):
    edit = Intervention("0", "residual", "addition", value=np.zeros((1, 9, 32)))
    with pytest.raises(InterventionError, match="does not fit"):
        forward(kit, BATCH, interventions=[edit], prefill_step_size=4)


def test_circuits_and_the_lens_are_those_of_one_pass(attending, monkeypatch):
    task = Task(PROMPT, [*PROMPT[:5], 60, *PROMPT[6:]], 3, 4)
    parts = {"component": "attention", "positions": [5, 15]}
    whole = [patch_effects(attending, task, **parts), patch_effects(attending, task)]
    lens = list(logit_lens(attending, PROMPT))
    for module in ("engine.runs.footprint", "engine.analysis.logit_lens"):
        monkeypatch.setattr(f"{module}.LONG", 6)
    monkeypatch.setattr(footprint.Footprint.longest_pass, "__kwdefaults__", {"most": 6} | REST)
    cut = [patch_effects(attending, task, **parts), patch_effects(attending, task)]
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_allclose(other.effects, one.effects, rtol=0, atol=1e-3)
    for (layer, logits), (same, joined) in zip(lens, logit_lens(attending, PROMPT), strict=True):
        assert layer == same
        np.testing.assert_allclose(joined, logits, rtol=0, atol=1e-4)


REST = {"kept": 0, "logits": None, "looks_at_scores": False, "can_be_cut": True}


@pytest.mark.parametrize(("length", "size", "passes"), [(10, 10, 1), (10, 9, 2), (7, 3, 3)])
def test_chunks_have_about_one_length(length, size, passes):
    assert passes_over(length, size) == passes
