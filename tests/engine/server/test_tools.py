"""Tools, forms and thinking, as OpenAI's own client and LM Studio's interface see them."""

import json
import re
from pathlib import Path

import jsonschema
import openai
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from engine.runs.results import GenerationResult
from engine.server.http.choices import Choices
from tests.engine.server.conftest import running, save_tiny_llama

MARKERS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
TEMPLATE = (
    "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}{% for m in messages %}"
    "{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>"
    "{{ c.function.name }} {{ c.function.arguments.city }}</tool_call>{% endfor %}"
    "{{ m.tool_call_id }}\n{% endfor %}"
    "assistant:{% if deep %}<think>{% endif %}"
    "{# <tool_call> tool_call.name #}"
)
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 5},
        "unit": {"enum": ["°C", "°F"]},
        "where": {"$ref": "#/$defs/place"},
    },
    "required": ["city", "unit", "where"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}},
}
EMPTY = {"type": "object", "properties": {}, "additionalProperties": False}
FUNCTIONS = [
    {"name": "get_weather", "description": "Look.", "parameters": PARAMETERS, "strict": True},
    {"name": "now", "parameters": EMPTY},
]
TOOLS = [{"type": "function", "function": each} for each in FUNCTIONS]
USER = [{"role": "user", "content": "weather?"}]
CALL = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """One whose model's template knows tools and thinking; its tokens are bytes."""
    folder = Path(tmp_path_factory.mktemp("tools")) / "tiny"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: i for i, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.add_tokens([AddedToken(marker, normalized=False) for marker in MARKERS])
    fast.chat_template = TEMPLATE
    save_tiny_llama(folder, fast, vocab_size=len(fast))
    with running(folder) as server:
        yield server


@pytest.fixture
def client(server):
    with openai.OpenAI(
        base_url=f"{server.listener.url}/v1", api_key="any", max_retries=0
    ) as client:
        yield client


@pytest.fixture
def says(monkeypatch):
    """Lets the model write a text, of so many characters a token and its markers whole."""

    def script(text, size=1, reason="stop"):
        pieces = re.findall(
            rf"</?think>|.{{1,{size}}}?(?=</?think>)|.{{1,{size}}}", text, re.DOTALL
        )

        def run(self, job):
            for index in range(len(self.all)):
                for count, piece in enumerate(pieces, start=1):
                    ended = reason if count == len(pieces) else None
                    marker = {"<think>": 257, "</think>": 258}.get(piece, 7)
                    yield (
                        index,
                        (GenerationResult(marker, piece, piece, -1.0, (), ended, 1, count), {}),
                    )

        monkeypatch.setattr(Choices, "run", run)

    return script


def chat(client, **asked):
    options = {"model": "tiny", "messages": USER, "temperature": 1.0, "seed": 1, "max_tokens": 900}
    return client.chat.completions.create(**(options | asked))


def accumulated(chunks):
    """What the parts of a stream make: text, thinking, calls by index, and the end."""
    text, thought, calls, end = "", "", {}, None
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            thought += getattr(choice.delta, "reasoning_content", None) or ""
            end = choice.finish_reason or end
            for part in choice.delta.tool_calls or ():
                if part.index not in calls:
                    assert (part.type, part.function.arguments) == ("function", "")
                    begun = {"id": part.id, "name": part.function.name, "arguments": ""}
                    calls[part.index] = begun
                call = calls[part.index]
                call["arguments"] += part.function.arguments or ""
    return text, thought, list(calls.values()), end


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_call_that_is_asked_for_is_valid(client, choice):
    asked = {"tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False}
    (whole,) = chat(client, **asked).choices
    assert (whole.message.content, whole.finish_reason) == (None, "tool_calls")
    (call,) = whole.message.tool_calls
    schemas = {each["name"]: each["parameters"] for each in FUNCTIONS}
    jsonschema.validate(json.loads(call.function.arguments), schemas[call.function.name])
    if choice != "required":
        assert call.function.name == "get_weather"
    text, _, calls, end = accumulated(chat(client, **asked, stream=True))
    assert (text, end) == ("", "tool_calls")
    assert [(each["name"], each["arguments"]) for each in calls] == [
        (call.function.name, call.function.arguments)
    ]


def test_the_history_of_calls_is_rendered(client, server):
    told = [
        *USER,
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "cold"},
    ]
    tokens = server.post("/v1/tokenize", messages=told)["tokens"]
    rendered = server.post("/v1/detokenize", tokens=tokens)["text"]
    assert "assistant: <tool_call>get_weather Oslo</tool_call>\ntool: coldcall_1\n" in rendered
    reply = chat(client, messages=told, tools=TOOLS, max_tokens=2)
    assert reply.usage.prompt_tokens == len(tokens) + len("[get_weather][now]")
    untold = chat(client, messages=told, tools=TOOLS, tool_choice="none", max_tokens=2)
    assert untold.usage.prompt_tokens == len(tokens)
    error = server.error(
        "/v1/chat/completions",
        422,
        messages=[
            *told[:1],
            told[1] | {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]},
        ],
    )
    assert error["param"] == "messages.1.tool_calls.0.function.arguments"


@pytest.mark.parametrize("size", [1, 7, 500])
def test_calls_in_the_model_s_own_form_are_told(client, says, size):
    says(f"I look.\n{CALL}\n{CALL}", size)
    (whole,) = chat(client, tools=TOOLS).choices
    assert (whole.message.content, whole.finish_reason) == ("I look.", "tool_calls")
    assert [call.function.name for call in whole.message.tool_calls] == ["now", "now"]
    text, _, calls, end = accumulated(chat(client, tools=TOOLS, stream=True))
    assert (text, end) == ("I look.", "tool_calls")
    assert [(call["name"], call["arguments"]) for call in calls] == [("now", "{}")] * 2
    assert len({call["id"] for call in calls}) == 2
    (one,) = chat(client, tools=TOOLS, parallel_tool_calls=False).choices
    assert len(one.message.tool_calls) == 1
    (untouched,) = chat(client).choices
    assert untouched.message.content == f"I look.\n{CALL}\n{CALL}"


def test_a_call_that_is_cut_off_is_text(client, says):
    says(CALL[:-5], reason="length")
    (whole,) = chat(client, tools=TOOLS).choices
    assert (whole.message.content, whole.finish_reason) == (CALL[:-5], "length")
    assert whole.message.tool_calls is None


def test_thinking_is_told_apart(client, server, says):
    says("<think>so</think>\nParis")
    (whole,) = chat(client).choices
    assert (whole.message.content, whole.message.reasoning_content) == ("\nParis", "so")
    reply = chat(client)
    assert reply.usage.completion_tokens_details.reasoning_tokens == 4
    text, thought, _, _ = accumulated(chat(client, stream=True))
    assert (text, thought) == ("\nParis", "so")


def test_responses_have_items_of_thinking_messages_and_calls(client, says):
    says(f"<think>so</think>I look.{CALL}")
    functions = [{"type": "function", "strict": None} | each for each in FUNCTIONS]
    asked = {"model": "tiny", "input": "weather?", "tools": functions}
    reply = client.responses.create(**asked)
    assert [item.type for item in reply.output] == ["reasoning", "message", "function_call"]
    thought, message, call = reply.output
    assert (thought.content[0].text, message.content[0].text) == ("so", "I look.")
    assert (call.name, call.arguments) == ("now", "{}")
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = list(dict.fromkeys(event.type for event in events))
    assert "response.reasoning_text.delta" in kinds
    assert "response.function_call_arguments.done" in kinds
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.type for item in done] == [item.type for item in events[-1].response.output]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "noon"}
    kept = client.responses.create(**asked | {"input": [result], "previous_response_id": reply.id})
    history = [{"role": "user", "content": "weather?"}, *reply.output, result]
    given = client.responses.create(**asked | {"input": history})
    assert given.usage.input_tokens == kept.usage.input_tokens > reply.usage.input_tokens


def test_lm_studio_tells_thinking(server, says):
    says("<think>so</think>Paris")
    reply = server.post("/api/v1/chat", model="tiny", input="hello")
    assert reply["output"] == [
        {"type": "reasoning", "content": "so"},
        {"type": "message", "content": "Paris"},
    ]
    body = {"model": "tiny", "input": "hello", "stream": True}
    with server.http.stream("POST", "/api/v1/chat", json=body) as response:
        lines = [line for line in response.iter_lines() if line.startswith("event: ")]
    kinds = list(dict.fromkeys(line.removeprefix("event: ") for line in lines))
    assert kinds[3:-1] == [
        f"{part}.{when}" for part in ("reasoning", "message") for when in ("start", "delta", "end")
    ]


@pytest.mark.parametrize("thinking", [False, True])
def test_an_answer_has_the_form_that_was_asked_for(client, thinking):
    more = {"extra_body": {"chat_template_kwargs": {"deep": thinking}}}
    asked = {"response_format": FORMAT, "logprobs": True, "top_logprobs": 5, **more}
    several = chat(client, **asked, n=2, max_tokens=3000 if thinking else 200).choices
    assert len({choice.message.content for choice in several}) == 2
    for choice in several:
        if choice.finish_reason == "stop":
            jsonschema.validate(json.loads(choice.message.content), PERSON)
        assert thinking == bool(getattr(choice.message, "reasoning_content", None))
    assert thinking or {choice.finish_reason for choice in several} == {"stop"}
    assert all(token.logprob <= 0 for token in several[0].logprobs.content)


def test_the_form_may_be_any_object_or_what_vllm_s_names_say(client, server):
    stream = chat(client, response_format={"type": "json_object"}, max_tokens=60, stream=True)
    text, _, _, end = accumulated(stream)
    assert text.startswith("{")
    assert end == "length" or isinstance(json.loads(text), dict)
    forms = {
        "regex": (r"\d{3}-(ä|ö)+x", r"\d{3}-(ä|ö)+x"),
        "choice": (["left", "right"], "left|right"),
        "grammar": ('start: "a" word*\nword: " b"', "a( b)*"),
    }
    for name, (wanted, expected) in forms.items():
        body = {"structured_outputs": {name: wanted}, "temperature": 1, "seed": 2}
        for path, prompt in (
            ("completions", {"prompt": "a"}),
            ("chat/completions", {"messages": USER}),
        ):
            reply = server.post(f"/v1/{path}", **prompt, **body, max_tokens=300)
            (choice,) = reply["choices"]
            told = choice.get("text") or choice["message"]["content"]
            assert re.fullmatch(expected, told), told
            assert choice["finish_reason"] == "stop"


def test_an_answer_or_a_call_may_be_what_is_asked_for(client):
    seen = set()
    for seed in range(5):
        asked = {"tools": TOOLS[1:], "response_format": FORMAT, "parallel_tool_calls": False}
        (choice,) = chat(client, **asked, seed=seed).choices
        seen.add(choice.finish_reason)
        if choice.finish_reason == "stop":
            jsonschema.validate(json.loads(choice.message.content), PERSON)
    assert seen == {"stop", "tool_calls"}


def test_responses_take_a_schema(client):
    reply = client.responses.create(
        model="tiny",
        input="who?",
        text={"format": {"type": "json_schema", "name": "person", "schema": PERSON}},
        temperature=1.0,
    )
    assert reply.status == "completed"
    jsonschema.validate(json.loads(reply.output_text), PERSON)


def test_captures_are_of_the_model_s_own_logits(server):
    hooks = [
        {"layer_name": "*", "component": "logits"},
        {"layer_name": "1", "component": "residual"},
    ]
    asked = {"messages": USER, "max_tokens": 4, "activation_hooks": hooks}
    asked |= {"activation_format": "array"}
    path = "/v1/chat/completions/with_activations"
    plain = server.post(path, **asked)["activations"]
    held = server.post(path, **asked, response_format=FORMAT)["activations"]
    for name, records in held.items():
        assert records[0]["data"] == plain[name][0]["data"]


@pytest.mark.parametrize(
    ("more", "param", "sentence"),
    [
        ({"tools": [TOOLS[0], TOOLS[0]]}, "tools", "one is there twice"),
        ({"tool_choice": "required"}, "tool_choice", "there are: none"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
            "get_weather, now",
        ),
        (
            {"response_format": FORMAT, "structured_outputs": {"regex": "a"}},
            "structured_outputs",
            "says already",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"not": {}}},
                }
            },
            "response_format.json_schema.schema",
            "Unimplemented keys",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": 3}}}]},
            "tools",
            "parameters of 'f'",
        ),
        (
            {"tools": TOOLS, "structured_outputs": {"grammar": 'start: "a"'}},
            "structured_outputs.grammar",
            "does not go with tools",
        ),
    ],
)
def test_what_cannot_be_says_why(server, more, param, sentence):
    error = server.error("/v1/chat/completions", 422, messages=USER, **more)
    assert error["param"] == param
    assert sentence in error["message"]
    is_grammar = "Unimplemented" in sentence or "parameters of" in sentence
    assert error["type"] == ("impossible_grammar" if is_grammar else "impossible")
