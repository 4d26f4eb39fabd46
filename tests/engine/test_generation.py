"""Generation: the same tokens as without taps, and one exact record for each of them."""

import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache
from tiny import PROMPT, greedy, tiny_kit

from engine.captures.hooks import ActivationHookSpec
from engine.captures.records import Activations
from engine.components import ComponentType as C
from engine.errors import (
    CaptureTooLargeError,
    InvalidRequestError,
    UnknownPositionError,
)
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.results import GenerationResult

COUNT = 8
LENGTH = len(PROMPT)
COMPONENTS = [
    C.RESIDUAL,
    C.ATTENTION,
    C.MLP,
    C.QUERY,
    C.KEY,
    C.VALUE,
    C.ATTENTION_SCORES,
    C.ATTENTION_PATTERN,
    C.HEAD_OUTPUT,
]
SIDEWAYS = {C.RESIDUAL: 1, C.ATTENTION: 1, C.MLP: 1}
HOOKS = [ActivationHookSpec("*", component) for component in COMPONENTS]
FULL = {"layer_types": ["full_attention"] * 2}


@pytest.fixture(scope="module")
def kit():
    return tiny_kit("llama", **FULL)


def run(kit, hooks=HOOKS, prompt=PROMPT, max_tokens=COUNT, **options):
    results: list[GenerationResult] = []
    steps: list[Activations] = []
    for result, activations in create_generator_with_activations(
        kit, prompt, hooks, max_tokens=max_tokens, **options
    ):
        results.append(result)
        steps.append(activations)
    return results, steps


def tokens_of(results) -> list[int]:
    return [result.token for result in results]


def joined(steps: list[Activations], hook_id: str, component: C) -> np.ndarray:
    """The records of all steps as one forward pass over the whole sequence would have them."""
    parts = [step[hook_id][0].data for step in steps]
    if component in (C.ATTENTION_SCORES, C.ATTENTION_PATTERN):
        fill = 0 if component is C.ATTENTION_PATTERN else -np.inf
        keys = parts[-1].shape[-1]
        parts = [
            np.pad(p, [(0, 0)] * 3 + [(0, keys - p.shape[-1])], constant_values=fill) for p in parts
        ]
    return np.concatenate(parts, axis=SIDEWAYS.get(component, 2))


def assert_steps_are_one_pass(kit, prompt, results, steps, atol=1e-5):
    """The records of a generation agree with one forward pass over all that it ran."""
    sequence = [*prompt, *tokens_of(results)[:-1]]
    whole = forward(kit, [sequence], HOOKS).activations
    for hook_id, (record,) in whole.items():
        ours = joined(steps, hook_id, record.component)
        np.testing.assert_allclose(ours, record.data, rtol=0, atol=atol, err_msg=hook_id)


def test_tokens_are_those_of_the_model_without_the_engine(kit):
    results, _ = run(kit)
    assert tokens_of(results) == greedy(kit.model, PROMPT, COUNT)


def test_there_is_one_record_a_token_and_the_look_ahead_pass_is_dropped(kit):
    results, steps = run(kit)
    assert len(results) == len(steps) == COUNT
    for k, step in enumerate(steps):
        for records in step.values():
            (record,) = records
            first, last = (0, LENGTH - 1) if k == 0 else (LENGTH + k - 1, LENGTH + k - 1)
            assert (record.step, record.positions) == (k, (first, last))
            assert record.shape[SIDEWAYS.get(record.component, 2)] == last - first + 1


def test_the_steps_are_one_forward_pass_over_the_whole_sequence(kit):
    results, steps = run(kit)
    assert_steps_are_one_pass(kit, PROMPT, results, steps)


@pytest.mark.parametrize("chunk", [1, 2, 4, 7, 15, 16])
def test_a_prompt_in_chunks_is_stitched(kit, chunk):
    whole, chunked = run(kit)[1][0], run(kit, prefill_step_size=chunk)[1][0]
    assert whole.keys() == chunked.keys()
    for hook_id, (expected,) in whole.items():
        (record,) = chunked[hook_id]
        assert (record.shape, record.positions) == (expected.shape, expected.positions)
        np.testing.assert_allclose(record.data, expected.data, rtol=0, atol=1e-5, err_msg=hook_id)


EXACT = """
import sys, mlx.core as mx
mx.set_default_device(mx.cpu)
sys.path[:0] = {paths!r}
import numpy as np
from test_generation import FULL, HOOKS, PROMPT, run
from tiny import tiny_kit
kit = tiny_kit("llama", **FULL)
prompt = PROMPT * 3
whole = run(kit, prompt=prompt)[1]
for chunk in (3, 4, 8, 16, 32):
    for a, b in zip(whole, run(kit, prompt=prompt, prefill_step_size=chunk)[1], strict=True):
        for hook_id in a:
            np.testing.assert_array_equal(a[hook_id][0].data, b[hook_id][0].data, err_msg=hook_id)
print("bit for bit")
"""


@pytest.mark.slow
def test_a_prompt_in_chunks_is_stitched_bit_for_bit():
    """Where a row of a matrix product does not depend on how many rows there are.

    MLX's own BLAS is such; OpenBLAS, which engine puts in its place if it comes first, is not.
    """
    here = Path(__file__).parent
    code = EXACT.format(paths=[str(here), str(here.parents[1])])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "bit for bit\n", done.stderr


@pytest.mark.parametrize("name", ["llama", "gpt_oss", "gemma3_text", "gemma2", "deepseek_v3"])
@pytest.mark.parametrize("chunk", [5, 2048])
def test_architectures_that_cache_in_their_own_ways_agree_with_one_pass(name, chunk):
    kit = tiny_kit(name)
    results, steps = run(kit, prefill_step_size=chunk, max_tokens=12)
    assert_steps_are_one_pass(kit, PROMPT, results, steps)


def test_a_wrapped_cache_is_in_the_order_of_time():
    kit = tiny_kit("llama", kit={"max_kv_size": 8}, **FULL)
    _, steps = run(kit, max_tokens=14)
    for k, step in enumerate(steps[1:], start=1):
        total = LENGTH + k
        pattern = step["layer_0_attention_pattern"][0].data
        scores = step["layer_0_attention_scores"][0].data
        assert pattern.shape[-1] == total
        kept = [*range(4), *range(total - 4, total)]
        dropped = [position for position in range(total) if position not in kept]
        assert not pattern[..., dropped].any()
        assert np.isneginf(scores[..., dropped]).all()
        value = joined(steps[: k + 1], "layer_0_value", C.VALUE)
        head_output = step["layer_0_head_output"][0].data
        np.testing.assert_allclose(
            pattern @ np.repeat(value, 2, axis=1), head_output, rtol=0, atol=1e-5
        )


@pytest.mark.parametrize(("bits", "tolerance"), [(8, 2e-2), (4, 3e-1)])
def test_a_quantised_cache_is_captured_as_attention_sees_it(bits, tolerance):
    changes = FULL | {"head_dim": 32}
    exact = run(tiny_kit("llama", **changes), max_tokens=3)
    quantised = {"kv_bits": bits, "kv_group_size": 32}
    if mx.cuda.is_available():  # MLX has no product there with the quantised keys of a cache
        with pytest.raises(InvalidRequestError, match=r"kv_bits: .*without kv_bits"):
            tiny_kit("llama", kit=quantised, **changes)
        return
    kit = tiny_kit("llama", kit=quantised, **changes)
    results, steps = run(kit, max_tokens=3)
    assert len(results) == 3
    for step, reference in zip(steps, exact[1], strict=True):
        for hook_id in ("layer_1_attention_pattern", "layer_1_residual"):
            ours, theirs = step[hook_id][0], reference[hook_id][0]
            assert ours.shape == theirs.shape
        pattern = step["layer_1_attention_pattern"][0].data
        np.testing.assert_allclose(pattern.sum(axis=-1), 1, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        steps[0]["layer_0_attention_pattern"][0].data,
        exact[1][0]["layer_0_attention_pattern"][0].data,
        rtol=0,
        atol=tolerance,
    )


@pytest.mark.parametrize("drafts", [1, 3, 5])
def test_rejected_drafts_are_dropped(kit, drafts):
    draft = tiny_kit("llama", **FULL).model
    noisy = draft.model.layers[0].mlp.down_proj
    noisy.weight = noisy.weight + 0.3 * mx.random.normal(noisy.weight.shape, key=mx.random.key(1))
    results, steps = run(kit, max_tokens=16, draft_model=draft, num_draft_tokens=drafts)
    assert tokens_of(results) == greedy(kit.model, PROMPT, 16)
    assert [step["layer_0_mlp"][0].step for step in steps] == list(range(16))
    assert [step["layer_0_mlp"][0].positions for step in steps[1:]] == [
        (p, p) for p in range(LENGTH, LENGTH + 15)
    ]
    assert_steps_are_one_pass(kit, PROMPT, results, steps)


def test_a_budget_counts_what_is_answered_and_not_what_is_dropped(kit):
    hooks = [ActivationHookSpec("*", C.RESIDUAL)]
    _, steps = run(kit, hooks)
    payload = sum(r.nbytes for step in steps for records in step.values() for r in records)
    run(kit, hooks, budget_bytes=payload)
    with pytest.raises(CaptureTooLargeError, match=f"the budget is {payload - 1}"):
        run(kit, hooks, budget_bytes=payload - 1)


def test_positions_select_steps(kit):
    hooks = [ActivationHookSpec("0", C.MLP, positions=(2, -1, LENGTH + 1))]
    _, steps = run(kit, hooks)
    found = {k: step["layer_0_mlp"][0] for k, step in enumerate(steps) if step}
    assert list(found) == [0, 2]
    whole = run(kit, [ActivationHookSpec("0", C.MLP)])[1]
    np.testing.assert_array_equal(
        found[0].data, whole[0]["layer_0_mlp"][0].data[:, [2, LENGTH - 1]]
    )
    np.testing.assert_array_equal(found[2].data, whole[2]["layer_0_mlp"][0].data)


def test_a_position_that_no_step_reaches_is_refused(kit):
    hook = ActivationHookSpec("0", C.MLP, positions=(LENGTH + COUNT - 1,))
    with pytest.raises(UnknownPositionError, match=f"0 to {LENGTH + COUNT - 2}"):
        run(kit, [hook])


def test_a_prompt_cache_continues_the_sequence(kit):
    whole, expected = run(kit)
    cache = make_prompt_cache(kit.model)
    kit.model(mx.array([PROMPT[:10]]), cache=cache)
    results, steps = run(kit, prompt=PROMPT[10:], prompt_cache=cache)
    assert tokens_of(results) == tokens_of(whole)
    record, reference = steps[0]["layer_1_residual"][0], expected[0]["layer_1_residual"][0]
    assert record.positions == (10, LENGTH - 1)
    np.testing.assert_allclose(record.data, reference.data[:, 10:], rtol=0, atol=1e-5)
    pattern = steps[0]["layer_1_attention_pattern"][0].data
    np.testing.assert_allclose(
        pattern, expected[0]["layer_1_attention_pattern"][0].data[:, :, 10:], rtol=0, atol=1e-5
    )


def test_the_end_of_text_token_ends_the_text_and_is_not_part_of_it(kit):
    tokens = greedy(kit.model, PROMPT, COUNT)
    end = next(k for k, token in enumerate(tokens) if token not in tokens[:k] and k > 0)
    ending = tiny_kit("llama", eos=tokens[end], **FULL)
    results, steps = run(ending)
    assert tokens_of(results) == tokens[: end + 1]
    assert "".join(r.text for r in results) == "".join(f"{t} " for t in tokens[:end])
    assert [r.finish_reason for r in results] == [None] * end + ["stop"]
    assert steps[-1]["layer_0_mlp"][0].step == end


def test_a_stop_string_across_tokens_ends_the_text_and_nothing_of_it_is_shown(kit):
    tokens = greedy(kit.model, PROMPT, COUNT)
    text = "".join(f"{token} " for token in tokens)
    stop = f"{tokens[2]} {tokens[3]} "
    results, _ = run(kit, stop_strings=[stop])
    assert "".join(result.text for result in results) == text[: text.index(stop)]
    assert results[-1].finish_reason == "stop"


def test_text_that_only_began_a_stop_string_is_shown_after_all(kit):
    tokens = greedy(kit.model, PROMPT, COUNT)
    results, _ = run(kit, stop_strings=[f"{tokens[2]} never"])
    assert "".join(r.text for r in results) == "".join(f"{t} " for t in tokens)
    assert results[-1].finish_reason == "length"


def test_log_probabilities_are_those_of_the_logits(kit):
    results, _ = run(kit, max_tokens=1, top_logprobs=3)
    (result,) = results
    logits = np.array(kit.model(mx.array([PROMPT])))[0, -1].astype(np.float64)
    logprobs = logits - np.log(np.exp(logits).sum())
    order = np.argsort(-logprobs)[:3]
    assert [choice.token for choice in result.top_logprobs] == order.tolist()
    np.testing.assert_allclose(
        [choice.logprob for choice in result.top_logprobs], logprobs[order], atol=1e-5
    )
    assert result.logprob == pytest.approx(logprobs[result.token], abs=1e-5)


def test_a_seed_makes_sampling_repeatable_and_another_seed_differs(kit):
    drawn = [
        tokens_of(run(kit, (), max_tokens=20, temperature=1.5, seed=seed)[0]) for seed in (7, 7, 8)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_bias_of_a_logit_chooses_its_token(kit):
    results, _ = run(kit, (), logit_bias={17: 1000.0})
    assert tokens_of(results) == [17] * COUNT


@pytest.mark.parametrize("chunk", [4, 2048])
def test_a_repetition_penalty_counts_the_whole_prompt(kit, chunk):
    tokens = greedy(kit.model, PROMPT, COUNT)
    repeated = next(k for k, token in enumerate(tokens) if token in (*PROMPT, *tokens[:k]))
    prompt = [*PROMPT, *tokens[:repeated]]
    logits = np.array(kit.model(mx.array([prompt])))[0, -1]
    seen = sorted(set(prompt))
    logits[seen] = np.where(logits[seen] < 0, logits[seen] * 3, logits[seen] / 3)
    expected = int(logits.argmax())
    assert expected != tokens[repeated]
    options = {"repetition_penalty": 3.0, "repetition_context_size": 100}
    results, _ = run(kit, (), prompt, max_tokens=1, prefill_step_size=chunk, **options)
    assert tokens_of(results) == [expected]


def test_the_prompts_progress_is_reported(kit):
    calls = []
    run(kit, (), prefill_step_size=6, prompt_progress_callback=lambda *call: calls.append(call))
    assert calls == [(0, 16), (6, 16), (12, 16), (15, 16), (16, 16)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0, not at least 1"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_k": -1}, "top_k is -1"),
        ({"min_p": 2.0}, "min_p is 2.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"logit_bias": {96: 1.0}}, "logit_bias"),
        ({"top_logprobs": 97}, "0 to 96"),
        ({"prefill_step_size": 0}, "prefill_step_size is 0"),
        ({"prompt": []}, "at least one token"),
    ],
)
def test_parameters_without_a_meaning_are_refused_at_once(kit, options, message):
    prompt = options.pop("prompt", PROMPT)
    with pytest.raises(InvalidRequestError, match=message):
        create_generator_with_activations(kit, prompt, **options)


def test_a_draft_model_needs_a_cache_that_can_take_drafts_back(kit):
    with pytest.raises(InvalidRequestError, match="itself"):
        run(kit, draft_model=kit.model)
    mamba = tiny_kit("mamba")
    with pytest.raises(InvalidRequestError, match="the model's cache, ArraysCache"):
        run(mamba, (), draft_model=kit.model)
    with pytest.raises(InvalidRequestError, match="the draft model's cache, ArraysCache"):
        run(kit, (), draft_model=mamba.model)
    windowed = tiny_kit("llama")  # which forgets what a rejected draft took the place of
    with pytest.raises(InvalidRequestError, match="the model's cache, RotatingKVCache"):
        run(windowed, (), draft_model=kit.model)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gpt_oss", {"kv_bits": 8}, "rotating"),
        ("llama", {"kv_bits": 8, "kv_group_size": 64}, "does not divide"),
    ],
)
def test_a_cache_that_cannot_be_quantised_is_refused_at_load(name, options, message):
    changes = FULL if name == "llama" else {}
    with pytest.raises(InvalidRequestError, match=message):
        tiny_kit(name, kit=options, **changes)
