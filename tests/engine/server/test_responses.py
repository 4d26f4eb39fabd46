"""OpenAI's responses: its own client reads them, and goes on with what was said."""

import openai
import pytest


@pytest.fixture
def client(server):
    with openai.OpenAI(
        base_url=f"{server.listener.url}/v1", api_key="any", max_retries=0
    ) as client:
        yield client


def chatted(server, *messages, max_tokens):
    said = [{"role": role, "content": content} for role, content in messages]
    return server.post("/v1/chat/completions", messages=said, max_tokens=max_tokens)


def test_a_response_is_the_chat_s_answer(client, server):
    reply = client.responses.create(
        model="tiny", input="hello", instructions="be brief", max_output_tokens=5
    )
    ours = chatted(server, ("system", "be brief"), ("user", "hello"), max_tokens=5)
    assert reply.output_text == ours["choices"][0]["message"]["content"]
    assert (reply.status, reply.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert reply.usage.input_tokens == ours["usage"]["prompt_tokens"]
    assert reply.usage.output_tokens == 5


def test_it_goes_on_with_what_was_said(client, server):
    asked = {"model": "tiny", "max_output_tokens": 4}
    first = client.responses.create(input="hello", instructions="be brief", **asked)
    second = client.responses.create(
        input=[{"role": "user", "content": [{"type": "input_text", "text": "and?"}]}],
        instructions="be long",
        previous_response_id=first.id,
        **asked,
    )
    said = [
        ("system", "be long"),
        ("user", "hello"),
        ("assistant", first.output_text),
        ("user", "and?"),
    ]
    ours = chatted(server, *said, max_tokens=4)
    assert second.output_text == ours["choices"][0]["message"]["content"]
    assert second.previous_response_id == first.id


def test_a_stream_joins_to_the_whole(client):
    asked = {"model": "tiny", "input": "hello", "max_output_tokens": 5}
    whole = client.responses.create(**asked)
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.incomplete"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text
    last = events[-1].response
    assert last.output_text == whole.output_text
    assert last.usage.total_tokens == whole.usage.total_tokens
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {last.output[0].id}


def test_a_text_that_ends_is_completed(client, server):
    kit = server.service.models.get(None).kit
    ends = kit.tokenizer.eos_token_ids
    kit.tokenizer.eos_token_ids = set(range(len(kit.tokenizer)))
    try:
        reply = client.responses.create(model="tiny", input="hello", max_output_tokens=5)
    finally:
        kit.tokenizer.eos_token_ids = ends
    assert (reply.status, reply.incomplete_details, reply.output_text) == ("completed", None, "")


def test_what_is_not_kept_is_refused(client):
    asked = {"model": "tiny", "input": "hello", "max_output_tokens": 2}
    forgotten = client.responses.create(**asked, store=False)
    with pytest.raises(openai.NotFoundError, match="previous_response_id"):
        client.responses.create(**asked, previous_response_id=forgotten.id)
    with pytest.raises(openai.UnprocessableEntityError, match="tools"):
        client.responses.create(
            **asked, tools=[{"type": "function", "name": "f", "parameters": {}, "strict": True}]
        )


@pytest.mark.parametrize("path", ["/v1/responses", "/api/v1/chat"])
def test_what_the_template_refuses_is_said_of_the_input(server, path):
    kit = server.service.models.get(None).kit
    template = kit.tokenizer.chat_template
    kit.tokenizer.chat_template = "{{ raise_exception('Only poems are answered') }}"
    try:
        error = server.error(path, 422, model="tiny", input="hello")
    finally:
        kit.tokenizer.chat_template = template
    assert error["param"] == "input"
    assert "Only poems are answered" in error["message"]
