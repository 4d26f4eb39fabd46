"""The scores of a sequence are the log softmax of one pass over it."""

import mlx.core as mx
import numpy as np
import pytest
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.interventions.intervention import Intervention
from engine.runs import scoring
from engine.runs.forward import forward
from engine.runs.scoring import score


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("passes", [1, 5, 15, 16, 256])
@pytest.mark.parametrize("name", ["llama", "gemma3_text", "mamba", "deepseek_v3"])
def test_scores_are_the_log_softmax_of_the_logits(name, passes, monkeypatch):
    monkeypatch.setattr(scoring, "PASS_TOKENS", passes)
    kit = tiny_kit(name)
    done = []
    scored = score(kit, PROMPT, top_logprobs=4, progress=lambda *call: done.append(call)).tokens
    expected = log_softmax(np.array(kit.model(mx.array([PROMPT])))[0])
    assert [each.token for each in scored] == PROMPT
    assert (scored[0].logprob, scored[0].top_logprobs) == (None, ())
    found = [each.logprob for each in scored[1:]]
    np.testing.assert_allclose(found, expected[range(15), PROMPT[1:]], rtol=0, atol=2e-5)
    for row, each in zip(expected, scored[1:], strict=False):
        np.testing.assert_allclose(
            [choice.logprob for choice in each.top_logprobs], np.sort(row)[:-5:-1], atol=2e-5
        )
    assert done[-1] == (16, 16)


@pytest.mark.parametrize("passes", [5, 256])
def test_what_is_captured_and_changed_is_that_of_one_pass(passes, monkeypatch):
    monkeypatch.setattr(scoring, "PASS_TOKENS", passes)
    kit = tiny_kit("llama")
    specs = [ActivationHookSpec("*", "residual"), ActivationHookSpec("1", "attention_pattern")]
    change = Intervention("0", "mlp", "scaling", factor=3.0, positions=(2, -1))
    scores = score(kit, PROMPT, resolve_hooks(specs, kit.structure), [change])
    whole = forward(kit, [PROMPT], specs, [change], logits="all")
    for hook_id, (record,) in whole.activations.items():
        (ours,) = scores.activations[hook_id]
        assert (ours.step, ours.positions) == (0, (0, 15))
        np.testing.assert_allclose(ours.data, record.data, rtol=0, atol=1e-5)
    expected = log_softmax(whole.logits[0])[range(15), PROMPT[1:]]
    np.testing.assert_allclose([s.logprob for s in scores.tokens[1:]], expected, atol=2e-5)
