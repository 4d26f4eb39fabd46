"""Taps leave no trace: not in the numbers, not in the modules, not in other threads."""

import copy
import threading

import mlx.core as mx
import numpy as np
import pytest
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.taps.class_swap import current_scope, tapped_class
from engine.taps.observation import observed
from engine.taps.points import Point

RESIDUALS = [ActivationHookSpec("*", C.RESIDUAL), ActivationHookSpec("*", C.ATTENTION_PATTERN)]


@pytest.fixture(scope="module")
def kit():
    return tiny_kit("llama")


def classes(kit) -> list[type]:
    return [type(module) for module in kit.model.modules()]


def visiting(kit, visit):
    return observed(kit.structure, {Point(0, C.MLP): visit})


def test_idle_taps_leave_the_logits_bit_identical(kit):
    plain = np.array(kit.model(mx.array([PROMPT])))
    with observed(kit.structure, {}):
        np.testing.assert_array_equal(np.array(kit.model(mx.array([PROMPT]))), plain)


def test_taps_of_another_thread_leave_the_logits_bit_identical(kit):
    plain = np.array(kit.model(mx.array([PROMPT])))
    seen = []

    def run():
        mx.eval(logits := kit.model(mx.array([PROMPT])))
        seen.append(np.array(logits))

    with visiting(kit, lambda value, span: value * 2):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    np.testing.assert_array_equal(seen[0], plain)


def test_classes_are_as_before_after_a_forward_pass(kit):
    before = classes(kit)
    forward(kit, [PROMPT], RESIDUALS)
    assert classes(kit) == before


def test_classes_are_as_before_after_an_error_inside_a_pass(kit):
    before = classes(kit)

    def failing(value, span):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), visiting(kit, failing):
        kit.model(mx.array([PROMPT]))
    assert classes(kit) == before
    assert current_scope() is None


def test_nothing_is_observed_between_tokens(kit):
    run = create_generator_with_activations(kit, PROMPT, RESIDUALS, max_tokens=9)
    next(run)
    assert current_scope() is None
    run.close()


def test_classes_are_as_before_after_a_cancellation(kit):
    before = classes(kit)
    run = create_generator_with_activations(kit, PROMPT, RESIDUALS, max_tokens=9)
    next(run)
    run.close()
    assert classes(kit) == before
    assert current_scope() is None


def test_modules_stay_tapped_until_the_last_run_ends(kit):
    before = classes(kit)
    run = create_generator_with_activations(kit, PROMPT, RESIDUALS, max_tokens=9)
    next(run)
    forward(kit, [PROMPT], RESIDUALS)
    assert next(run)[1]
    run.close()
    assert classes(kit) == before


def test_a_forward_pass_fits_between_two_tokens(kit):
    alone = [r.token for r, _ in create_generator_with_activations(kit, PROMPT, max_tokens=4)]
    tokens = []
    for result, _ in create_generator_with_activations(kit, PROMPT, RESIDUALS, max_tokens=4):
        tokens.append(result.token)
        forward(kit, [PROMPT[:5]], RESIDUALS)
    assert tokens == alone


def test_no_instance_gets_an_attribute(kit):
    with visiting(kit, lambda value, span: value):
        assert not any("__call__" in vars(module) for module in kit.model.modules())


def test_a_tapped_module_is_still_one_of_its_class_and_can_be_copied(kit):
    mlp = kit.model.layers[0].mlp
    original = type(mlp)
    with visiting(kit, lambda value, span: value):
        block = kit.model.layers[0]
        assert type(block) is tapped_class(type(block).__base__)
        assert isinstance(block, type(block).__base__)
        assert copy.deepcopy(block).mlp.down_proj.weight.shape == mlp.down_proj.weight.shape
    assert type(mlp) is original


def test_parameters_keep_their_paths_while_tapped(kit):
    names = [name for name, _ in kit.model.named_modules()]
    with visiting(kit, lambda value, span: value):
        assert [name for name, _ in kit.model.named_modules()] == names


def test_only_the_model_and_what_a_visitor_needs_are_tapped(kit):
    before = classes(kit)
    with visiting(kit, lambda value, span: value):
        changed = [now for now, then in zip(classes(kit), before, strict=True) if now is not then]
    assert changed == [tapped_class(type(kit.model)), tapped_class(type(kit.model.layers[0]))]


def test_two_threads_with_different_hooks_never_see_each_others_captures(kit):
    expected = {
        component: forward(kit, [PROMPT], [ActivationHookSpec("*", component)]).activations
        for component in (C.MLP, C.ATTENTION)
    }
    before = classes(kit)
    start = threading.Barrier(2)
    found: dict[C, list] = {component: [] for component in expected}

    def run(component: C) -> None:
        start.wait()
        for _ in range(20):
            hooks = [ActivationHookSpec("*", component)]
            found[component].append(forward(kit, [PROMPT], hooks).activations)

    threads = [threading.Thread(target=run, args=[component]) for component in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for component, runs in found.items():
        assert len(runs) == 20
        for activations in runs:
            assert activations.keys() == expected[component].keys()
            for hook_id, (record,) in activations.items():
                (reference,) = expected[component][hook_id]
                np.testing.assert_array_equal(record.data, reference.data)
    assert classes(kit) == before
