"""OpenAI's own client with the default model: real words, and PyTorch's probabilities."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest

from tests.engine.server.conftest import running

GIFT = "When Mary and John went to the store, John gave a drink to"
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."


@pytest.fixture(scope="module")
def client(smollm2_path: Path) -> Iterator[openai.OpenAI]:
    with (
        running(smollm2_path) as server,
        openai.OpenAI(base_url=f"{server.listener.url}/v1", api_key="any", max_retries=0) as client,
    ):
        yield client


def pytorch_logprobs(reference, tokens) -> np.ndarray:
    """The log softmax at each place of a sequence, ``[seq, vocab]``."""
    import torch

    with torch.no_grad():
        return torch.log_softmax(reference(torch.tensor([tokens])).logits[0], -1).numpy()


def test_a_chat_without_a_limit_ends_with_its_text(client):
    answer = client.chat.completions.create(
        model=None, messages=FRANCE, temperature=None, max_completion_tokens=None
    )
    assert answer.choices[0].message.content == PARIS
    assert answer.choices[0].finish_reason == "stop"


def test_a_stream_has_the_role_first_and_the_end_last(client):
    stream = client.chat.completions.create(model=None, messages=FRANCE, stream=True)
    events = [event.choices[0] for event in stream]
    assert [event.delta.role for event in events] == ["assistant"] + [None] * (len(events) - 1)
    assert "".join(event.delta.content for event in events) == PARIS
    assert [event.finish_reason for event in events] == [None] * (len(events) - 1) + ["stop"]
    assert not events[-1].delta.content


def test_a_scored_prompt_has_pytorchs_probabilities(client, smollm2_reference):
    answer = client.completions.create(
        model=None, prompt=f"{GIFT} Mary.", echo=True, logprobs=5, max_tokens=0
    )
    (choice,) = answer.choices
    assert choice.text == f"{GIFT} Mary."
    told = choice.logprobs
    assert "".join(told.tokens) == choice.text
    assert told.text_offset == np.cumsum([0, *map(len, told.tokens)])[:-1].tolist()
    tokens = client.post("/tokenize", body={"text": choice.text}, cast_to=dict)["tokens"]
    rows = pytorch_logprobs(smollm2_reference, tokens)
    assert (told.token_logprobs[0], told.top_logprobs[0]) == (None, None)
    expected = rows[range(len(tokens) - 1), tokens[1:]]
    np.testing.assert_allclose(told.token_logprobs[1:], expected, rtol=0, atol=1e-3)
    for row, top in zip(rows, told.top_logprobs[1:], strict=False):
        likeliest = sorted(top.values(), reverse=True)[:5]
        np.testing.assert_allclose(likeliest, np.sort(row)[:-6:-1], rtol=0, atol=1e-3)


def test_the_likelier_of_two_continuations_is_found_as_evaluation_harnesses_do(client):
    """Prompts of unequal length in one request, scored, with one token more that is left out."""
    context = client.post("/tokenize", body={"text": GIFT}, cast_to=dict)["tokens"]
    names = [" Mary", " John", " the old elephant"]
    ends = [client.post("/tokenize", body={"text": name}, cast_to=dict)["tokens"] for name in names]
    answer = client.completions.create(
        model=None,
        prompt=[[*context, *end] for end in ends],
        echo=True,
        logprobs=1,
        max_tokens=1,
        temperature=0,
        seed=1234,
    )
    scores = [
        sum(choice.logprobs.token_logprobs[len(context) : -1])
        for choice in sorted(answer.choices, key=lambda choice: choice.index)
    ]
    assert int(np.argmax(scores)) == 0
    assert answer.usage.prompt_tokens == sum(len(context) + len(end) for end in ends)


def test_seeds_choices_and_penalties(client):
    asked = {"model": None, "prompt": "Once upon a time", "max_tokens": 12}
    drawn = asked | {"temperature": 1, "seed": -(2**40), "n": 3}
    first, second = (client.completions.create(**drawn) for _ in range(2))
    texts = [choice.text for choice in first.choices]
    assert texts == [choice.text for choice in second.choices]
    assert len(set(texts)) == 3
    repeating = {**asked, "prompt": "one two one two one two", "max_tokens": 20}
    plain = client.completions.create(**repeating).choices[0].text
    penalised = client.completions.create(
        **repeating, presence_penalty=1, frequency_penalty=1.5, logit_bias={}
    )
    assert plain.count("three") > penalised.choices[0].text.count("three")


def test_an_answer_of_a_schema_is_captured_as_any_other(client):
    city = {
        "type": "object",
        "properties": {"capital": {"type": "string"}, "population": {"type": "integer"}},
        "required": ["capital", "population"],
        "additionalProperties": False,
    }
    hooks = [{"layer_name": "*", "component": "residual"}]
    asked = {"messages": FRANCE, "activation_hooks": hooks, "activation_format": "base64"}
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": city}}
    path = "/chat/completions/with_activations"
    held, free = (
        client.post(path, body=asked | more, cast_to=dict)
        for more in ({"response_format": form, "max_tokens": 60}, {"max_tokens": 1})
    )
    (choice,) = held["choices"]
    assert choice["finish_reason"] == "stop"
    answer = json.loads(choice["message"]["content"])
    assert answer["capital"] == "Paris"
    assert isinstance(answer["population"], int)
    assert len(held["activations"]) == 30
    for name, records in held["activations"].items():
        assert len(records) == held["usage"]["completion_tokens"]
        assert records[0] == free["activations"][name][0]
