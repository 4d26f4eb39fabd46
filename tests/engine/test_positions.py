"""Positions are those of the sequence where a cache does not tell how many tokens it has seen."""

import copy

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec
from engine.errors import InvalidRequestError
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations

COUNT = 5
HOOKS = [ActivationHookSpec("*", component) for component in ("residual", "attention", "logits")]


@pytest.fixture(scope="module", params=["mamba", "mamba2", "rwkv7", "nemotron-nas"])
def kit(request):
    """Models of a state space alone, and one whose first layer has no attention."""
    if request.param == "nemotron-nas":
        attention = {"n_heads_in_group": 2}
        blocks = [{"attention": {"no_op": True}}, {"attention": attention}]
        configs = [{**block, "ffn": {"ffn_mult": 1.5}} for block in blocks]
        return tiny_kit(request.param, num_hidden_layers=2, block_configs=configs)
    return tiny_kit(request.param)


def run(kit, prompt=PROMPT, hooks=HOOKS, **options):
    steps = create_generator_with_activations(kit, prompt, hooks, max_tokens=COUNT, **options)
    results, activations = zip(*steps, strict=True)
    return [result.token for result in results], activations


def assert_one_pass(kit, prompt, tokens, steps, first=0):
    """The records of a generation are one pass over the sequence, cut at each token."""
    sequence = [*prompt, *tokens[:-1]]
    whole = forward(kit, [sequence], HOOKS).activations
    for hook_id, (expected,) in whole.items():
        records = [step[hook_id][0] for step in steps]
        ends = [len(prompt) + step - 1 for step in range(COUNT)]
        assert [record.positions for record in records] == [
            (first, ends[0]),
            *((end, end) for end in ends[1:]),
        ]
        joined = np.concatenate([record.data for record in records], axis=1)
        np.testing.assert_allclose(joined, expected.data[:, first:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("chunk", [3, 2048])
def test_each_step_of_a_generation_is_captured_at_its_position(kit, chunk):
    tokens, steps = run(kit, prefill_step_size=chunk)
    assert_one_pass(kit, PROMPT, tokens, steps)


def test_an_intervention_acts_at_the_position_that_it_names(kit):
    steering = Intervention("1", "residual", "addition", positions=(-1,), value=np.float32([3.0]))
    _, plain = run(kit)
    _, steered = run(kit, interventions=[steering])
    before, after = (steps[0]["layer_1_residual"][0].data for steps in (plain, steered))
    np.testing.assert_allclose(after[:, :-1], before[:, :-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(after[:, -1], before[:, -1] + 3, rtol=0, atol=1e-5)


def test_a_hook_s_position_may_be_that_of_a_generated_token(kit):
    place = len(PROMPT) + 2
    _, steps = run(kit, hooks=[ActivationHookSpec("1", "residual", positions=(place,))])
    assert [bool(step) for step in steps] == [False, False, False, True, False]
    assert steps[3]["layer_1_residual"][0].positions == (place, place)


def test_a_cache_that_a_run_has_filled_is_continued_at_its_end(kit):
    cache = make_prompt_cache(kit.model)
    tokens, _ = run(kit, prompt=PROMPT[:8], prompt_cache=cache)
    held = 8 + COUNT  # mlx-lm runs the last token too, ahead of being asked
    sequence = [*PROMPT[:8], *tokens, *PROMPT[8:]]
    more, steps = run(kit, prompt=PROMPT[8:], prompt_cache=cache)
    assert_one_pass(kit, sequence, more, steps, first=held)


@pytest.mark.parametrize("name", ["mamba", "rwkv7"])
def test_a_cache_filled_or_copied_where_nobody_counts_is_refused(name):
    kit = tiny_kit(name)
    plain = make_prompt_cache(kit.model)
    kit.model(mx.array([PROMPT]), cache=plain)
    ours = make_prompt_cache(kit.model)
    run(kit, prompt_cache=ours)
    for cache in (plain, copy.deepcopy(ours)):
        with pytest.raises(InvalidRequestError, match="ArraysCache does not tell"):
            run(kit, prompt_cache=cache)
