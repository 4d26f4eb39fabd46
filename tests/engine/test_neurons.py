"""Neurons: between the projections of every architecture's MLP, one expert or many."""

import mlx.core as mx
import numpy as np
import pytest
from subjects import TOKENS
from tiny import tiny_kit

from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.taps.points import Point

LONG = [(7 * n * n + 3 * n) % 96 for n in range(40)]
"""With two experts a token more rows than mlx-lm leaves unsorted."""

WITH_EXPERTS = [
    "mixtral",
    "gpt_oss",
    "qwen2_moe",
    "nemotron_h",
    "phixtral",
    "olmoe",
    "deepseek_v41",
]
PARTS = (C.MLP_GATE, C.MLP_HIDDEN, C.EXPERT_OUTPUT, C.ROUTER_CHOICE)


def changed(subject, component: C, layer: int, operation: str, **parameters) -> dict[C, list]:
    """What a layer's neurons and their MLP are after a change of one of their components."""
    intervention = Intervention(str(layer), component, operation, **parameters)
    components = [C.MLP_HIDDEN, C.EXPERT_OUTPUT, C.MLP]
    specs = [
        ActivationHookSpec(str(layer), each, hook_id=each)
        for each in components
        if Point(layer, each) in subject.structure.shapes
    ]
    activations = forward(subject.kit, [TOKENS], specs, [intervention]).activations
    return {each: [r.data for r in activations.get(each, ())] for each in components}


def layers_with_neurons(subject) -> list[int]:
    subject.requires(C.MLP_HIDDEN)
    layers = range(subject.structure.layers)
    return [n for n in layers if Point(n, C.MLP_HIDDEN) in subject.structure.shapes]


def test_neurons_whose_activation_function_is_given_zeros_are_zeros(subject):
    for layer in layers_with_neurons(subject):
        for hidden in changed(subject, C.MLP_GATE, layer, "ablation")[C.MLP_HIDDEN]:
            np.testing.assert_allclose(hidden, 0, rtol=0, atol=1e-5)


def test_what_the_activation_function_is_given_is_not_the_linear_part(subject):
    for layer in layers_with_neurons(subject):
        doubled = changed(subject, C.MLP_GATE, layer, "scaling", factor=2.0)[C.MLP_HIDDEN]
        for hidden, before in zip(doubled, subject.data(C.MLP_HIDDEN, layer), strict=True):
            assert np.abs(hidden - 2 * before).max() > 1e-3


def test_without_neurons_every_token_gets_the_same_from_the_mlp(subject):
    """From the same expert, where there are several; the bias of the down projection at most."""
    for layer in layers_with_neurons(subject):
        ablated = changed(subject, C.MLP_HIDDEN, layer, "ablation")
        if len(subject.structure.shapes[Point(layer, C.MLP_HIDDEN)]) == 3:
            for mlp in ablated[C.MLP]:
                np.testing.assert_allclose(mlp, np.broadcast_to(mlp[:, :1], mlp.shape), atol=1e-5)
            continue
        choices = subject.data(C.ROUTER_CHOICE, layer)
        for output, choice in zip(ablated[C.EXPERT_OUTPUT], choices, strict=True):
            for expert in np.unique(choice):
                rows = output[choice == expert]
                np.testing.assert_allclose(rows, np.broadcast_to(rows[:1], rows.shape), atol=1e-5)


@pytest.fixture(scope="module", params=WITH_EXPERTS)
def experts(request):
    """A model with experts, one of its layers that has them, and its parts over a long prompt."""
    kit = tiny_kit(request.param)
    layer = next(n for n in range(9) if Point(n, C.EXPERT_OUTPUT) in kit.structure.shapes)
    return kit, layer, parts_of(kit, layer, [LONG])


def parts_of(kit, layer: int, prompts, interventions=()) -> dict[C, np.ndarray]:
    specs = [ActivationHookSpec(str(layer), component, hook_id=component) for component in PARTS]
    records = forward(kit, prompts, specs, interventions).activations
    return {component: records[component][0].data for component in PARTS}


def by_choice(parts: dict[C, np.ndarray], component: C) -> np.ndarray:
    """A component with a token's chosen experts in the order of their ids."""
    order = np.argsort(parts[C.ROUTER_CHOICE], axis=-1)[..., None]
    return np.take_along_axis(parts[component], order, axis=2)


def test_rows_that_experts_sort_are_captured_in_the_order_of_tokens(experts):
    kit, layer, whole = experts
    few = LONG[:20]
    unsorted = parts_of(kit, layer, [few])
    assert whole[C.ROUTER_CHOICE].size >= 64 > unsorted[C.ROUTER_CHOICE].size
    for component in (C.MLP_GATE, C.MLP_HIDDEN, C.EXPERT_OUTPUT):
        assert whole[component].shape[1] == len(LONG)
        np.testing.assert_allclose(
            by_choice(whole, component)[:, : len(few)],
            by_choice(unsorted, component),
            rtol=0,
            atol=1e-5,
        )


def test_the_down_projections_of_the_chosen_experts_make_the_expert_outputs(experts):
    kit, layer, parts = experts
    named = dict(kit.model.layers[layer].named_modules())
    paths = [
        f"{owner}.{name}" for owner in ("switch_mlp", "experts") for name in ("fc2", "down_proj")
    ]
    down = next(
        named[name] for name in named if name.endswith(tuple(paths)) and "shared" not in name
    )
    weight, hidden = np.array(down.weight), parts[C.MLP_HIDDEN]
    choice = parts[C.ROUTER_CHOICE]
    expected = np.einsum("bske,bskhe->bskh", hidden, weight[choice])
    if "bias" in down:
        expected += np.array(down.bias)[choice]
    np.testing.assert_allclose(parts[C.EXPERT_OUTPUT], expected, rtol=0, atol=1e-4)


def test_an_edit_of_sorted_rows_changes_the_positions_that_it_names(experts):
    kit, layer, before = experts
    edit = Intervention(str(layer), C.MLP_HIDDEN, "scaling", positions=(5, -1), factor=3.0)
    after = parts_of(kit, layer, [LONG], [edit])
    factor = np.ones((1, len(LONG), 1, 1))
    factor[:, [5, -1]] = 3
    expected = by_choice(before, C.MLP_HIDDEN) * factor
    np.testing.assert_allclose(by_choice(after, C.MLP_HIDDEN), expected, rtol=0, atol=1e-5)
    same = [n for n in range(len(LONG)) if n not in (5, len(LONG) - 1)]
    outputs = [by_choice(parts, C.EXPERT_OUTPUT) for parts in (before, after)]
    np.testing.assert_allclose(outputs[0][:, same], outputs[1][:, same], rtol=0, atol=1e-5)
    assert np.abs(outputs[0] - outputs[1])[:, [5, -1]].max(axis=(0, 2, 3)).min() > 1e-3


def test_a_batch_of_sorted_rows_has_each_prompt_s_neurons(experts):
    kit, layer, alone = experts
    both = parts_of(kit, layer, [LONG[::-1], LONG])
    for component in (C.MLP_GATE, C.MLP_HIDDEN):
        expected = by_choice(alone, component)
        np.testing.assert_allclose(by_choice(both, component)[1:], expected, rtol=0, atol=1e-5)


def test_capturing_sorted_rows_leaves_the_logits_bit_identical(experts):
    kit, _, _ = experts
    specs = [ActivationHookSpec("*", component) for component in (C.MLP_GATE, C.MLP_HIDDEN)]
    captured = forward(kit, [LONG], specs, logits="all").logits
    untapped = kit.model(mx.array([LONG])).astype(mx.float32)
    np.testing.assert_array_equal(captured, np.array(untapped))


def test_neurons_of_experts_that_run_one_after_another_are_absent_for_that_reason():
    structure = tiny_kit("dbrx").structure
    assert "one after another" in structure.absent[0, C.MLP_HIDDEN]


def test_a_linear_map_in_place_of_an_mlp_has_no_neurons():
    structure = tiny_kit("nemotron-nas").structure
    assert "no neurons" in structure.absent[2, C.MLP_HIDDEN]
