"""A model in an image: the numbers of its passes are those that Python sees."""

import numpy as np
import pytest
from neuroscope import ask, capture

from bridge.client import LMStudioNeuroScopeClient
from systems import System

PROMPT = "The capital of France is"


def test_logits_of_a_forward_pass_are_those_of_python(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    shape, last, values, indices, next_text = ask(
        system,
        engine,
        f"| o top | o := model forward: (model tokenizer encode: '{PROMPT}');; "
        "top := o logits last softmax topK: 3;; {o logits shape. o logits last norm. "
        "top at: #values. top at: #indices. model tokenizer decode: {o nextToken}}",
    )
    logits = capture(engine, PROMPT)["logits"]
    powers = np.exp(logits[-1] - logits[-1].max())
    order = np.argsort(-powers)[:3]
    assert shape == [1, logits.shape[1]]
    assert last == pytest.approx(np.linalg.norm(logits[-1]), rel=1e-6)
    assert indices == order.tolist()
    assert values == pytest.approx(powers[order] / powers.sum(), rel=1e-4)
    assert next_text == " Paris"


def test_cached_activations_answer_both_kinds_of_key(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    one, other, scores, names = ask(
        system,
        engine,
        f"| r t | t := model tokenizer encode: '{PROMPT}';; "
        "r := model runWithCaching: t layers: #(0 5) "
        "components: #(#residual #attention #layerNorm #attentionWeights);; "
        "{{(r cachedActivations at: 5 -> #residual) shape. "
        "(r cachedActivations at: 5 -> #residual) mean}. "
        "{(r cachedActivations at: 5 at: #residual) norm. (r at: 0 at: #layerNorm) norm. "
        "(r cachedActivations at: 0 at: #attention) norm}. "
        "(r at: 5 at: #attentionWeights) data. r cachedActivations size}",
    )
    places = [(5, "residual"), (0, "layernorm"), (0, "attention"), (5, "attention_pattern")]
    found = capture(engine, PROMPT, *places)
    assert one == [[1, 5, 576], pytest.approx(found[places[0]].mean(), rel=1e-5)]
    assert other == pytest.approx([np.linalg.norm(found[p]) for p in places[:3]], rel=1e-6)
    assert scores == pytest.approx(found[places[3]].ravel(), rel=1e-5, abs=1e-9)
    assert names == 8
