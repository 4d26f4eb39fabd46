"""Circuit analysis of the real model agrees, cell by cell, with PyTorch."""

from collections.abc import Callable
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
import torch
from tasks import TINY, score, selected, value
from tiny import tiny_kit

from engine.analysis.circuits import Effects, Task, patch_effects
from engine.captures.hooks import ActivationHookSpec
from engine.errors import (
    InvalidRequestError,
    UnknownComponentError,
    UnknownLayerError,
    UnknownPositionError,
)
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.kit import ModelKit, load_model, single_token, tokenize

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"
LAYERS, HEADS, HEAD_DIM = 30, 9, 64
BACKWARD_COST = 2
"""Of one backward pass, in forward passes."""


@pytest.fixture(scope="module")
def smollm2(smollm2_path) -> ModelKit:
    return load_model(smollm2_path, dtype="float32")


@pytest.fixture(scope="module")
def task(smollm2) -> Task:
    answer, distractor = (single_token(smollm2, name) for name in (" Mary", " John"))
    return Task(tokenize(smollm2, CLEAN), tokenize(smollm2, CORRUPTED), answer, distractor)


@pytest.fixture(scope="module")
def heads(smollm2, task) -> Effects:
    """The effect of every head, by activation patching."""
    return patch_effects(smollm2, task, component="head_output")


# --- against transformers in PyTorch --------------------------------------------------------


def reference_scores(model, task: Task, tokens, hooked=None, hook: Callable | None = None):
    """Logit differences of a batch of sequences in PyTorch, a hook on one module's input."""
    handle = hooked.register_forward_pre_hook(hook) if hooked is not None else None
    try:
        with torch.no_grad():
            logits = model(torch.tensor(tokens), logits_to_keep=1).logits[:, -1]
    finally:
        if handle:
            handle.remove()
    return (logits[:, task.answer] - logits[:, task.distractor]).numpy()


@pytest.mark.usefixtures("one_thread")
def test_the_sweep_over_all_heads_agrees_with_pytorch_in_every_cell(heads, task, smollm2_reference):
    model = smollm2_reference
    clean, corrupted = (
        reference_scores(model, task, [tokens])[0] for tokens in (task.clean, task.corrupted)
    )
    expected = np.empty((LAYERS, HEADS))
    for layer, block in enumerate(model.model.layers):
        projection = block.self_attn.o_proj
        seen = []
        reference_scores(
            model, task, [task.clean], projection, lambda module, args, seen=seen: seen.extend(args)
        )

        def patch(module, args, from_clean=seen[0][0]):
            patched = args[0].clone()
            for head in range(HEADS):
                columns = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
                patched[head, :, columns] = from_clean[:, columns]
            return (patched,)

        scores = reference_scores(model, task, [task.corrupted] * HEADS, projection, patch)
        expected[layer] = (scores - corrupted) / (clean - corrupted)
    assert heads.clean_score == pytest.approx(clean, abs=1e-3)
    assert heads.corrupted_score == pytest.approx(corrupted, abs=1e-3)
    np.testing.assert_allclose(heads.effects, expected, rtol=0, atol=1e-3)


# --- what the effects mean ------------------------------------------------------------------


def test_an_effect_is_that_of_the_declared_intervention(smollm2, task, heads):
    layer, head = 23, 3
    hook = ActivationHookSpec(str(layer), "head_output", "clean", heads=(head,))
    value = forward(smollm2, [task.clean], [hook]).activations["clean"][0].data
    edit = Intervention(str(layer), "head_output", "patching", heads=(head,), value=value)
    logits = forward(smollm2, [task.corrupted], interventions=[edit]).logits[0, -1]
    score = logits[task.answer] - logits[task.distractor]
    gap = heads.clean_score - heads.corrupted_score
    assert heads.effects[layer, head] == pytest.approx(
        (score - heads.corrupted_score) / gap, abs=1e-4
    )


def test_attribution_patching_ranks_heads_as_activation_patching_does(
    smollm2, task, heads, monkeypatch
):
    calls = []
    kernel = mx.fast.scaled_dot_product_attention

    def counted(*args, **kwargs):
        calls.append(1)
        return kernel(*args, **kwargs)

    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", counted)
    estimated = patch_effects(smollm2, task, method="attribution_patching").effects
    forward_passes = len(calls) / LAYERS
    assert spearman(estimated, heads.effects) > 0.8
    assert forward_passes + BACKWARD_COST < 10


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two arrays without ties."""
    ranks = [np.argsort(np.argsort(each, axis=None)) for each in (a, b)]
    return np.corrcoef(*ranks)[0, 1]


# --- every choice, on a tiny model ----------------------------------------------------------


@pytest.fixture(scope="module")
def tiny() -> ModelKit:
    return tiny_kit("llama", layer_types=["full_attention"] * 2)


@pytest.mark.parametrize("positions", ["all", "each", (-1, 2)], ids=str)
@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("method", ["activation_patching", "ablation"])
@pytest.mark.parametrize("component", ["residual", "attention", "mlp", "head_output"])
def test_every_cell_is_the_effect_of_one_intervention(
    tiny, component, method, direction, positions
):
    found = patch_effects(
        tiny, TINY, component=component, method=method, direction=direction, positions=positions
    )
    clean, corrupted = score(tiny, TINY.clean), score(tiny, TINY.corrupted)
    base, source = TINY.clean, TINY.corrupted
    if direction == "denoising":
        base, source = source, base
    groups = {"all": [range(6)], "each": [[i] for i in range(6)]}.get(positions, [[2, 5]])
    heads = range(4) if component == "head_output" else [None]
    expected = []
    for layer in range(2):
        other = value(tiny, source, component, layer)
        if method == "ablation":
            other = np.zeros_like(other)
        for head in heads:
            for group in groups:
                edit = Intervention(
                    str(layer),
                    component,
                    "replacement",
                    heads=None if head is None else (head,),
                    positions=tuple(group),
                    value=selected(other, head, group),
                )
                changed = score(tiny, base, edit)
                restored, lost = changed - corrupted, clean - changed
                effect = restored if direction == "denoising" else lost
                expected.append(effect / (clean - corrupted))
    shape = [2, *([4] if component == "head_output" else [])]
    if component != "head_output" or positions == "each":
        shape.append(len(groups))
    assert found.effects.shape == tuple(shape)
    np.testing.assert_allclose(found.effects.ravel(), expected, atol=2e-4)
    assert found.positions == [list(group) for group in groups]
    assert found.heads == (list(heads) if component == "head_output" else None)
    assert (found.clean_score, found.corrupted_score) == pytest.approx((clean, corrupted), abs=1e-5)


@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("component", ["residual", "attention", "mlp", "head_output"])
def test_attribution_is_the_slope_of_patching(tiny, component, direction):
    found = patch_effects(
        tiny,
        TINY,
        component=component,
        method="attribution_patching",
        direction=direction,
        positions="each",
    )
    base, source = TINY.clean, TINY.corrupted
    if direction == "denoising":
        base, source = source, base
    gap = score(tiny, source) - score(tiny, base)
    head = 1 if component == "head_output" else None
    for layer in range(2):
        away = value(tiny, source, component, layer) - value(tiny, base, component, layer)
        for position in range(6):
            ahead, behind = (
                score(
                    tiny,
                    base,
                    Intervention(
                        str(layer),
                        component,
                        "addition",
                        heads=None if head is None else (head,),
                        positions=(position,),
                        value=step * selected(away, head, [position]),
                    ),
                )
                for step in (0.01, -0.01)
            )
            cell = (layer, position) if head is None else (layer, head, position)
            assert found.effects[cell] == pytest.approx((ahead - behind) / 0.02 / gap, abs=1e-3)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_oss", "deepseek_v3", "gemma3n"])
def test_other_architectures_start_where_they_change_too(architecture):
    kit = tiny_kit(architecture)
    layer = kit.structure.layers - 1
    found = patch_effects(kit, TINY, layers=[layer], positions=[2])
    clean, corrupted = score(kit, TINY.clean), score(kit, TINY.corrupted)
    source = value(kit, TINY.clean, "head_output", layer)
    for head, effect in enumerate(found.effects[0]):
        edit = Intervention(
            str(layer),
            "head_output",
            "patching",
            heads=(head,),
            positions=(2,),
            value=selected(source, head, [2]),
        )
        expected = (score(kit, TINY.corrupted, edit) - corrupted) / (clean - corrupted)
        assert effect == pytest.approx(expected, abs=2e-4)


def test_what_a_pass_calculates_twice_has_no_effect_of_its_own():
    kit = tiny_kit("nanbeige")
    with pytest.raises(InvalidRequestError, match="residual of layer 0 is calculated 2 times"):
        patch_effects(kit, TINY, component="residual")


def test_the_whole_residual_stream_is_the_whole_effect(tiny):
    for direction in ("denoising", "noising"):
        found = patch_effects(tiny, TINY, component="residual", direction=direction)
        np.testing.assert_allclose(found.effects, [[1], [1]], atol=1e-6)


def test_in_the_last_layer_only_the_last_position_matters(tiny):
    found = patch_effects(tiny, TINY, component="residual", positions="each", layers=[1])
    np.testing.assert_allclose(found.effects, [[0, 0, 0, 0, 0, 1]], atol=1e-6)


def test_the_size_of_batches_does_not_matter_and_each_is_reported(tiny):
    reports = []
    one_by_one = patch_effects(
        tiny,
        TINY,
        positions="each",
        batch_bytes=1,
        progress=lambda done, total: reports.append((done, total)),
    )
    together = patch_effects(tiny, TINY, positions="each")
    np.testing.assert_allclose(one_by_one.effects, together.effects, atol=1e-5)
    assert reports == [(done, 48) for done in range(49)]


def test_layers_come_in_the_order_asked_for(tiny):
    every = patch_effects(tiny, TINY)
    turned = patch_effects(tiny, TINY, layers=[1, 0])
    assert turned.layers == [1, 0]
    np.testing.assert_array_equal(turned.effects, every.effects[::-1])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"corrupted": [3, 31]}, InvalidRequestError, "clean has 6 tokens and corrupted 2"),
        ({"clean": [], "corrupted": []}, InvalidRequestError, "at least one token"),
        ({"clean": [3, 31, 4, 15, 9, 96]}, InvalidRequestError, "96 is outside the vocabulary"),
        ({"answer": 96}, InvalidRequestError, "96 is outside the vocabulary"),
        ({"answer": 11}, InvalidRequestError, "the same token, 11"),
        ({"corrupted": [3, 31, 4, 15, 9, 26]}, InvalidRequestError, "both prompts score"),
    ],
)
def test_a_task_that_measures_nothing_is_refused(tiny, changes, error, message):
    with pytest.raises(error, match=message):
        patch_effects(tiny, replace(TINY, **changes))


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ({"component": "query"}, InvalidRequestError, "none of residual, attention"),
        ({"method": "guessing"}, InvalidRequestError, "none of activation_patching"),
        ({"direction": "both"}, InvalidRequestError, "none of denoising, noising"),
        ({"layers": [2]}, UnknownLayerError, "layers 0 to 1"),
        ({"layers": []}, InvalidRequestError, "at least one"),
        ({"positions": [6]}, UnknownPositionError, "positions 0 to 5"),
        ({"positions": []}, InvalidRequestError, "all, each, a list"),
        ({"positions": "some"}, InvalidRequestError, "all, each, a list"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused_by_name(tiny, choice, error, message):
    with pytest.raises(error, match=message):
        patch_effects(tiny, TINY, **choice)


def test_a_component_that_the_model_lacks_is_refused_by_name():
    kit = tiny_kit("mamba2")
    with pytest.raises(UnknownComponentError, match="head_output"):
        patch_effects(kit, TINY)
