"""Positions by the part of the text that they are in, and captures without special tokens."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny import PROMPT, Numbers, greedy, tiny_kit

from engine.captures.hooks import ActivationHookSpec
from engine.errors import InterventionError, InvalidRequestError, UnknownPositionError
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit

COUNT = 4
END = len(PROMPT)
VALUE = np.random.default_rng(0).normal(size=(1, 1, 32))


@pytest.fixture(scope="module", params=["llama", "gpt2", "mamba"])
def kit(request) -> ModelKit:
    return tiny_kit(request.param)


def run(kit, hooks=(), **options):
    options = {"max_tokens": COUNT} | options
    return list(create_generator_with_activations(kit, PROMPT, hooks, **options))


def steering(**changes) -> Intervention:
    return Intervention("0", "residual", "addition", **{"value": VALUE} | changes)


def ending_with(kit, *tokens: int, special: tuple[int, ...] = ()) -> ModelKit:
    """The same model with a tokenizer that ends texts with some tokens and marks others."""
    tokenizer = Numbers(*tokens)
    tokenizer.added_tokens_decoder = {
        **{token: SimpleNamespace(special=True) for token in special},
        PROMPT[0]: SimpleNamespace(special=PROMPT[0] in special),
    }
    return ModelKit(kit.model, tokenizer, {}, kit.model_id, None, kit.structure)


@pytest.mark.parametrize("chunk", [5, 2048])
def test_a_hook_captures_the_part_of_the_text_that_it_names(kit, chunk):
    hooks = [
        ActivationHookSpec("1", "residual", name, positions=name)
        for name in ("all", "prompt", "generated")
    ]
    steps = run(kit, hooks, prefill_step_size=chunk)
    (whole,) = steps[0][1]["all"]
    assert whole.positions == (0, END - 1)
    (prompt,) = steps[0][1]["prompt"]
    np.testing.assert_array_equal(prompt.data, whole.data)
    assert "generated" not in steps[0][1]
    for number, (_, activations) in enumerate(steps[1:], 1):
        assert "prompt" not in activations
        (record,) = activations["generated"]
        assert record.positions == (END + number - 1,) * 2
        np.testing.assert_array_equal(record.data, activations["all"][0].data)


@pytest.mark.parametrize("chunk", [5, 2048])
def test_steering_of_all_generated_tokens_is_steering_of_each(kit, chunk):
    options = {"max_tokens": 8, "prefill_step_size": chunk}
    each = steering(positions=tuple(range(END, END + 7)))
    listed = [result for result, _ in run(kit, interventions=[each], **options)]
    named = [
        result for result, _ in run(kit, interventions=[steering(positions="generated")], **options)
    ]
    assert [r.token for r in named] == [r.token for r in listed]
    assert [r.logprob for r in named] == pytest.approx([r.logprob for r in listed], abs=1e-4)
    plain = [result for result, _ in run(kit, **options)]
    assert named[0].logprob == pytest.approx(plain[0].logprob, abs=1e-5)
    assert [r.logprob for r in named[1:]] != pytest.approx([r.logprob for r in plain[1:]], abs=1e-3)


@pytest.mark.parametrize("chunk", [5, 2048])
def test_a_change_of_the_prompt_may_have_a_value_for_each_position(kit, chunk):
    value = np.random.default_rng(1).normal(size=(1, END, 32))
    edits = [steering(positions="prompt", value=value)]
    whole = forward(kit, [PROMPT], interventions=edits)
    (first, _), *later = run(kit, interventions=edits, prefill_step_size=chunk)
    logprobs = whole.logits[0, -1] - np.logaddexp.reduce(whole.logits[0, -1].astype(np.float64))
    assert first.token == logprobs.argmax()
    assert first.logprob == pytest.approx(logprobs.max(), abs=1e-4)
    assert len(later) == COUNT - 1


def test_all_positions_are_those_of_a_change_without_any(kit):
    everywhere, all_ = (
        [r.logprob for r, _ in run(kit, interventions=[steering(positions=positions)])]
        for positions in (None, "all")
    )
    assert everywhere == all_


@pytest.mark.parametrize("positions", ["generated", (END + 2,), (2, END + 2)])
def test_a_text_may_end_before_the_positions_come(kit, positions):
    first = greedy(kit.model, PROMPT, 1)[0]
    ending = ending_with(kit, first)
    hooks = [ActivationHookSpec("1", "residual", positions=positions)]
    ((result, _),) = run(
        ending,
        hooks,
        interventions=[
            steering(positions=("prompt"), value=VALUE * 0),
            steering(positions=positions, value=VALUE * 0),
        ],
    )
    assert result.finish_reason == "stop"


def test_where_nothing_is_generated_there_is_nothing_to_steer(kit):
    for refused in (
        lambda edit: forward(kit, [PROMPT], interventions=[edit]),
        lambda edit: run(kit, interventions=[edit], max_tokens=1),
    ):
        with pytest.raises(InterventionError, match="this run passes no token there"):
            refused(steering(positions="generated"))
    hook = ActivationHookSpec("1", "residual", positions="generated")
    with pytest.raises(UnknownPositionError, match=r"layer_1_residual.*passes no token there"):
        forward(kit, [PROMPT], [hook])


def test_a_part_that_a_text_does_not_have_is_named(kit):
    hook = ActivationHookSpec("1", "residual", positions="answer")
    with pytest.raises(InvalidRequestError, match="'answer' is none of all, prompt, generated"):
        forward(kit, [PROMPT], [hook])
    with pytest.raises(InvalidRequestError, match="'answer' is none of all, prompt, generated"):
        run(kit, interventions=[steering(positions="answer")])


SPECIAL = (PROMPT[0], PROMPT[8], PROMPT[-1])
TEXT = [place for place, token in enumerate(PROMPT) if token not in SPECIAL]


@pytest.mark.parametrize("chunk", [3, 2048])
def test_special_tokens_are_left_out_where_a_hook_says_so(kit, chunk):
    marked = ending_with(kit, special=SPECIAL)
    hooks = [
        ActivationHookSpec("1", "residual", "without", exclude_special_tokens=True),
        ActivationHookSpec("1", "residual", "with"),
    ]
    activations = forward(marked, [PROMPT], hooks, prefill_step_size=chunk).activations
    (without,), (whole,) = activations["without"], activations["with"]
    assert without.position_list == tuple(TEXT)
    assert without.positions == (TEXT[0], TEXT[-1])
    assert without.metadata["position_list"] == TEXT
    assert whole.metadata["position_list"] is None
    np.testing.assert_array_equal(without.data, whole.data[:, TEXT])
    (step, *_) = run(marked, hooks, prefill_step_size=chunk)
    assert step[1]["without"][0].position_list == tuple(TEXT)
    np.testing.assert_allclose(step[1]["without"][0].data, without.data, rtol=0, atol=1e-4)


def test_generated_special_tokens_are_left_out_too(kit):
    second = greedy(kit.model, PROMPT, 2)[1]
    marked = ending_with(kit, special=(second,))
    hooks = [
        ActivationHookSpec("1", "residual", "without", exclude_special_tokens=True),
        ActivationHookSpec("1", "residual", "with"),
    ]
    steps = run(marked, hooks)
    tokens = [result.token for result, _ in steps]
    for number, (_, activations) in enumerate(steps[1:]):
        assert "with" in activations
        assert ("without" in activations) == (tokens[number] != second)


def test_listed_positions_lose_their_special_tokens(kit):
    marked = ending_with(kit, special=SPECIAL)
    hook = ActivationHookSpec("1", "residual", positions=(9, 0, 1), exclude_special_tokens=True)
    whole = forward(marked, [PROMPT], [ActivationHookSpec("1", "residual")]).activations
    (record,) = forward(marked, [PROMPT], [hook]).activations["layer_1_residual"]
    expected = [place for place in (9, 0, 1) if place in TEXT]
    assert record.position_list == tuple(expected)
    np.testing.assert_array_equal(record.data, whole["layer_1_residual"][0].data[:, expected])


def test_a_hook_with_nothing_left_and_a_batch_of_several_minds_are_errors(kit):
    marked = ending_with(kit, special=SPECIAL)
    nothing = ActivationHookSpec("1", "residual", positions=(0,), exclude_special_tokens=True)
    with pytest.raises(UnknownPositionError, match=r"layer_1_residual.*special tokens"):
        forward(marked, [PROMPT], [nothing])
    hook = ActivationHookSpec("1", "residual", exclude_special_tokens=True)
    with pytest.raises(InvalidRequestError, match="at different positions"):
        forward(marked, [PROMPT, PROMPT[1:] + PROMPT[:1]], [hook])


def test_beginnings_ends_and_chat_markers_are_special(smollm2_path):
    from engine.runs.kit import load_model, tokenize

    kit = load_model(smollm2_path)
    tokens = tokenize(kit, [{"role": "user", "content": "Hello there"}])
    markers = kit.tokenizer.encode("<|im_start|><|im_end|><|endoftext|>")
    assert set(markers) <= kit.special_tokens
    assert not set(kit.tokenizer.encode(" Hello there")) & kit.special_tokens
    hook = ActivationHookSpec("3", "residual", exclude_special_tokens=True)
    (record,) = forward(kit, [tokens], [hook]).activations["layer_3_residual"]
    text = [place for place, token in enumerate(tokens) if token not in markers]
    assert list(record.covered) == text
    assert len(text) < len(tokens)
