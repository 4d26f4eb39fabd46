"""OpenAI's own Python client works unchanged."""

import openai
import pytest


@pytest.fixture
def client(server):
    with openai.OpenAI(
        base_url=f"{server.listener.url}/v1", api_key="any", max_retries=0
    ) as client:
        yield client


def test_it_lists_models(client):
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_it_completes(client):
    answer = client.completions.create(model="tiny", prompt="once", max_tokens=5, logprobs=3)
    (choice,) = answer.choices
    assert choice.finish_reason == "length"
    assert len(choice.logprobs.tokens) == len(choice.logprobs.top_logprobs) == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


def test_it_streams_a_completion(client):
    asked = {"model": "tiny", "prompt": "once", "max_tokens": 5}
    whole = client.completions.create(**asked)
    parts = client.completions.create(**asked, stream=True)
    assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text


def test_it_stops_at_stop_strings(client):
    asked = {"model": "tiny", "prompt": "once", "max_tokens": 8, "temperature": 2, "seed": 1}
    text = client.completions.create(**asked).choices[0].text
    stopped = client.completions.create(**asked, stop=[text[4:6]]).choices[0]
    assert stopped.text == text[: text.index(text[4:6])]
    assert stopped.finish_reason == "stop"


def test_it_chats(client):
    answer = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hello"}],
        max_completion_tokens=4,
        logprobs=True,
        top_logprobs=2,
    )
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert [len(token.top_logprobs) for token in choice.logprobs.content] == [2] * 4


def test_it_streams_a_chat_with_usage(client):
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    whole = client.chat.completions.create(**asked)
    *parts, last = client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    text = "".join(part.choices[0].delta.content for part in parts)
    assert text == whole.choices[0].message.content
    assert last.usage.completion_tokens == 4


def test_it_raises_its_own_errors(client):
    with pytest.raises(openai.NotFoundError, match="tiny"):
        client.completions.create(model="another", prompt="once")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.completions.create(model="tiny", prompt="once", temperature=-1)


def test_it_retrieves_a_model(client):
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="tiny"):
        client.models.retrieve("some/other")
