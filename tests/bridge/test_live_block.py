"""A block of the client's acts inside the forward pass, as it does from an image."""

import numpy as np
import pytest

from bridge.errors import LMStudioError

PROMPT = "The capital of France is"
HEAD = {"layer_name": "23", "component": "head_output", "heads": [3]}


def logits(answer):
    return answer["logits"]["data_base64"]


def test_zeroing_a_head_gives_the_logits_of_the_ablation(engine):
    declared = engine.forward(PROMPT, interventions=[HEAD | {"operation": "ablation"}])
    live = engine.forward_through(PROMPT, [HEAD], lambda stop, value: np.zeros_like(value))
    assert logits(live) == logits(declared)
    assert logits(live) != logits(engine.forward(PROMPT))


def test_zeroing_a_head_in_a_generation_gives_the_completion_of_the_ablation(engine):
    options = {"max_tokens": 4, "logprobs": 1}
    declared = engine.generate_with_activations(
        PROMPT, [], interventions=[HEAD | {"operation": "ablation"}], **options
    )
    live = engine.complete_through(
        PROMPT, [HEAD], lambda stop, value: np.zeros_like(value), **options
    )
    assert live["choices"] == declared["choices"]
    assert live["choices"] != engine.generate_with_activations(PROMPT, [], **options)["choices"]


def test_a_block_that_answers_nothing_only_looks(engine):
    seen = []
    live = engine.forward_through(
        PROMPT,
        [HEAD | {"layer_name": "22-24"}],
        lambda stop, value: seen.append((stop["layer"], value.shape)),
    )
    assert seen == [(layer, (1, 1, 5, 64)) for layer in (22, 23, 24)]
    assert logits(live) == logits(engine.forward(PROMPT))


@pytest.mark.parametrize("shape", [(1, 2), (1, 1, 5, 65)])
def test_a_block_that_fails_gives_the_pass_up_at_once(engine, shape):
    def broken(stop, value):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.forward_through(PROMPT, [HEAD], broken)
    with pytest.raises(LMStudioError, match="shape"):
        engine.forward_through(PROMPT, [HEAD], lambda stop, value: np.zeros(shape))
    assert engine.forward_through(PROMPT, [HEAD], lambda stop, value: None)
