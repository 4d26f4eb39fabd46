"""Requests and replies have OpenAI's form, all of it."""

import json

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest

from engine.contract import schemas as s
from engine.contract.operations import OPERATIONS
from tests.engine.server.conftest import running
from tests.engine.server.test_streaming import streamed

TEXT = "in the beginning"
CHAT = [{"role": "user", "content": "hello"}]
BOTH = [("/v1/completions", {"prompt": TEXT}), ("/v1/chat/completions", {"messages": CHAT})]
NOTHING = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "tools": [],
    "tool_choice": "auto",
    "functions": [],
    "parallel_tool_calls": False,
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "echo": False,
    "n": 1,
    "best_of": 1,
    "suffix": "",
    "logit_bias": {},
    "user": "someone",
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "auto",
    "verbosity": "medium",
    "stop": [],
    "stream": False,
    "stream_options": {"include_usage": True},
    "seed": 3,
}
SOMETHING = {
    "functions": [{"name": "f"}],
    "response_format": {"type": "yaml"},
    "modalities": ["audio"],
    "suffix": "end",
    "store": True,
    "audio": {"voice": "alloy"},
    "prediction": {"type": "content", "content": "a"},
    "reasoning_effort": "high",
    "web_search_options": {},
    "verbosity": "low",
    "service_tier": "flex",
}


@pytest.fixture(scope="module")
def model(tiny_model):
    return mlx_lm.load(str(tiny_model))


def choice(server, path="/v1/completions", **body):
    (only,) = server.post(path, **body)["choices"]
    return only


def without_ids(reply):
    """A reply without what differs each time."""
    left_out = ("id", "created", "stats", "prompt_tokens_details")
    if not isinstance(reply, dict):
        return reply
    return {name: without_ids(value) for name, value in reply.items() if name not in left_out}


@pytest.mark.parametrize(("path", "body"), BOTH, ids=["completion", "chat"])
@pytest.mark.parametrize("name", NOTHING)
def test_a_value_that_asks_for_nothing_changes_nothing(server, path, body, name):
    plain = server.post(path, **body, max_tokens=4)
    assert without_ids(server.post(path, **body, max_tokens=4, **{name: NOTHING[name]})) == (
        without_ids(plain)
    )


@pytest.mark.parametrize(("path", "body"), BOTH, ids=["completion", "chat"])
@pytest.mark.parametrize("name", SOMETHING)
def test_a_value_that_cannot_be_followed_is_refused_by_name(server, path, body, name):
    error = server.error(path, 400, **body, max_tokens=4, **{name: SOMETHING[name]})
    assert error["param"].partition(".")[0] == name
    assert error["message"].startswith(name)


@pytest.mark.parametrize(("path", "body"), BOTH, ids=["completion", "chat"])
def test_any_field_that_may_be_left_out_may_be_null(server, path, body):
    (operation,) = (each for each in OPERATIONS if each.path == path)
    fields = operation.request.model_fields
    nulls = {name: None for name, field in fields.items() if not field.is_required()}
    assert {"max_tokens", "temperature", "n", "stream", "logit_bias", "tools"} <= nulls.keys()
    nulls["max_tokens"] = 4
    assert without_ids(server.post(path, **body, **nulls)) == without_ids(
        server.post(path, **body, max_tokens=4)
    )


REQUESTS = sorted({each.request for each in OPERATIONS if each.request}, key=lambda k: k.__name__)


@pytest.mark.parametrize("kind", [*REQUESTS, s.HookSpec, s.InterventionSpec, s.StreamOptions])
def test_null_is_the_same_as_left_out_in_every_request(kind):
    for name, field in kind.model_fields.items():
        if field.is_required():
            continue
        loc = {error["loc"][0] for error in _errors(kind, json.dumps({name: None})) if error["loc"]}
        assert name not in loc
        schema = kind.model_json_schema()["properties"][name]
        assert "null" in [branch.get("type") for branch in schema.get("anyOf", [schema])]


def _errors(kind, text):
    try:
        kind.model_validate_json(text)
    except ValueError as error:
        return error.errors()
    return []


@pytest.mark.parametrize("limit", [{}, {"max_tokens": -1}, {"max_tokens": None}])
def test_a_text_without_a_limit_goes_on_to_the_end_of_the_context(tiny_model, limit):
    with running(tiny_model, context_tokens=40) as server:
        for path, body in BOTH:
            reply = server.post(path, **body, **limit)
            assert reply["usage"]["total_tokens"] == 40
            assert reply["choices"][0]["finish_reason"] == "length"
        chat = server.post("/v1/chat/completions", messages=CHAT, max_completion_tokens=-1)
        assert chat["usage"]["total_tokens"] == 40
    with running(tiny_model, context_tokens=40, max_tokens=5) as server:
        assert server.post("/v1/completions", prompt=TEXT)["usage"]["completion_tokens"] == 5


def test_the_end_of_text_ends_it_before(server):
    body = {"prompt": TEXT, "logit_bias": {"256": 100}}
    reply = server.post("/v1/completions", **body, max_tokens=-1, logprobs=0)
    assert reply["usage"]["completion_tokens"] == 1
    assert (reply["choices"][0]["text"], reply["choices"][0]["finish_reason"]) == ("", "stop")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_completion_tokens_wins_and_its_errors_have_its_name(server, name):
    asked = {"max_tokens": 7} | {name: 3}
    reply = server.post("/v1/chat/completions", messages=CHAT, **asked)
    assert reply["usage"]["completion_tokens"] == 3
    error = server.error("/v1/chat/completions", 422, messages=CHAT, **{name: 10**6})
    assert (error["param"], error["message"].partition(":")[0]) == (name, name)
    assert server.error("/v1/chat/completions", 400, messages=CHAT, **{name: 0})["param"] == name


@pytest.mark.parametrize("penalty", ["presence_penalty", "frequency_penalty"])
def test_penalties_are_counted_over_generated_tokens(server, model, penalty):
    network, tokenizer = model
    prompt, generated = tokenizer.encode(TEXT), []
    for _ in range(12):
        logits = np.array(network(mx.array([[*prompt, *generated]])))[0, -1].astype(np.float64)
        for token in set(generated):
            logits[token] -= 1.5 * (1 if penalty.startswith("presence") else generated.count(token))
        generated.append(int(logits.argmax()))
    asked = {"prompt": TEXT, "max_tokens": 12, penalty: 1.5}
    assert choice(server, **asked)["text"] == tokenizer.decode(generated)
    assert server.error("/v1/completions", 400, **(asked | {penalty: 2.5}))["param"] == penalty


@pytest.mark.parametrize("finish", [{"max_tokens": 3}, {"logit_bias": {"256": 100}}])
def test_a_chat_streams_its_role_first_and_its_end_alone(server, finish):
    chunks = streamed(server, "/v1/chat/completions", messages=CHAT, stream=True, **finish)
    first, *others = (chunk["choices"][0] for chunk in chunks)
    assert first["delta"]["role"] == "assistant"
    assert all("role" not in other["delta"] for other in others)
    *parts, end = [first, *others]
    assert [part["finish_reason"] for part in parts] == [None] * len(parts)
    assert end["finish_reason"] == ("length" if "max_tokens" in finish else "stop")
    assert not end["delta"]["content"]


def test_usage_is_null_on_every_event_but_the_last(server):
    *chunks, last = streamed(
        server,
        "/v1/completions",
        prompt=TEXT,
        max_tokens=2,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert [chunk["usage"] for chunk in chunks] == [None] * 3
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 2)


SAMPLED = {"prompt": TEXT, "max_tokens": 24, "temperature": 2, "seed": 3, "logprobs": 2}


def entries(logprobs):
    return list(
        zip(*(logprobs[name] for name in ("tokens", "token_logprobs", "text_offset")), strict=True)
    )


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("at", [0, 1, 5, 9])
def test_logprobs_are_of_the_tokens_before_a_stop_string(server, at, length):
    whole = choice(server, **SAMPLED)
    text, stop = whole["text"], whole["text"][at : at + length]
    cut = text.index(stop)
    body = SAMPLED | {"stop": [stop, "never there"]}
    stopped = choice(server, **body)
    assert (stopped["text"], stopped["finish_reason"]) == (text[:cut], "stop")
    expected = [entry for entry in entries(whole["logprobs"]) if entry[2] < cut]
    assert entries(stopped["logprobs"]) == expected
    parts = [
        chunk["choices"][0] for chunk in streamed(server, "/v1/completions", **body, stream=True)
    ]
    assert "".join(part["text"] for part in parts) == text[:cut]
    told = [entry for part in parts if part["logprobs"] for entry in entries(part["logprobs"])]
    assert told == expected


def test_offsets_are_right_where_text_is_held_back_for_a_stop_string(server):
    whole = choice(server, **SAMPLED)
    held = choice(server, **SAMPLED, stop=[whole["text"][3:6] + "never"])
    assert held["text"] == whole["text"]
    assert held["logprobs"] == whole["logprobs"]


def test_logprobs_hold_the_token_itself_beside_the_likeliest(server):
    told = choice(server, **SAMPLED)["logprobs"]
    for token, logprob, top in zip(
        told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True
    ):
        assert top[token] == logprob
        assert 2 <= len(top) <= 3
    alone = choice(server, **(SAMPLED | {"logprobs": 0}))["logprobs"]
    assert [list(top.items()) for top in alone["top_logprobs"]] == [
        [pair] for pair in zip(alone["tokens"], alone["token_logprobs"], strict=True)
    ]


PROMPTS = ["once", "in the beginning", "a"]


@pytest.mark.parametrize("as_ids", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_each_prompt_of_a_list_is_completed_as_it_is_alone(server, as_ids, stream):
    prompts = PROMPTS
    if as_ids:
        prompts = [server.post("/v1/tokenize", text=prompt)["tokens"] for prompt in prompts]
    options = {"max_tokens": 6, "temperature": 1.5, "seed": 5}
    alone = [server.post("/v1/completions", prompt=prompt, **options) for prompt in prompts]
    texts = [reply["choices"][0]["text"] for reply in alone]
    assert len(set(texts)) > 1
    if stream:
        chunks = streamed(server, "/v1/completions", prompt=prompts, stream=True, **options)
        found = dict.fromkeys(range(3), "")
        for chunk in chunks:
            found[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
        assert list(found.values()) == texts
        return
    reply = server.post("/v1/completions", prompt=prompts, **options)
    assert [one["index"] for one in reply["choices"]] == [0, 1, 2]
    assert [one["text"] for one in reply["choices"]] == texts
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert reply["usage"][name] == sum(each["usage"][name] for each in alone)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_several_choices_differ_and_the_first_is_that_of_one(server, path):
    asked = dict(BOTH)[path] | {"max_tokens": 8, "temperature": 1.5, "seed": 5}
    one, several = server.post(path, **asked), server.post(path, **asked, n=4)
    assert [each["index"] for each in several["choices"]] == [0, 1, 2, 3]
    assert several["choices"][0] == one["choices"][0]
    parts = [json.dumps(each | {"index": 0}) for each in several["choices"]]
    assert len(set(parts)) == 4
    assert without_ids(server.post(path, **asked, n=4, best_of=4)) == without_ids(several)
    assert without_ids(several["usage"]) == {
        "prompt_tokens": one["usage"]["prompt_tokens"],
        "completion_tokens": 32,
        "total_tokens": one["usage"]["prompt_tokens"] + 32,
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_the_choices_of_several_prompts_are_numbered_prompt_by_prompt(server):
    options = {"max_tokens": 6, "temperature": 1.5, "seed": 5}
    alone = [
        one["text"]
        for prompt in PROMPTS
        for one in server.post("/v1/completions", prompt=prompt, n=2, **options)["choices"]
    ]
    reply = server.post("/v1/completions", prompt=PROMPTS, n=2, **options)
    assert [one["text"] for one in reply["choices"]] == alone
    assert [one["index"] for one in reply["choices"]] == [*range(6)]
    chunks = streamed(server, "/v1/chat/completions", messages=CHAT, n=2, max_tokens=2, stream=True)
    roles = [c["choices"][0]["index"] for c in chunks if "role" in c["choices"][0]["delta"]]
    assert roles == [0, 1]


def test_what_registered_hooks_capture_of_several_choices_is_kept_for_each(server):
    hook = {"layer_name": "0", "component": "mlp", "hook_id": "kept"}
    server.post("/v1/activations/hooks", hooks=[hook])
    try:
        reply = server.post("/v1/completions", prompt=["once", "a"], max_tokens=1)
    finally:
        server.http.delete("/v1/activations/hooks/kept")
    assert "capture_id" not in reply
    for one, prompt in zip(reply["choices"], ["once", "a"], strict=True):
        (record,) = server.service.captures.get(one["capture_id"]).activations["kept"]
        assert record.data.shape[1] == len(prompt)


@pytest.mark.parametrize(
    ("body", "param"),
    [({"n": 2, "best_of": 3}, "best_of"), ({"prompt": ["a"] * 300, "n": 4}, "n")],
)
def test_choices_that_cannot_be_had_are_refused(server, body, param):
    asked = {"prompt": TEXT, "max_tokens": 1} | body
    assert server.error("/v1/completions", 422, **asked)["param"] == param


@pytest.mark.parametrize("body", [{"prompt": ["a", "b"]}, {"prompt": "a", "n": 2}])
def test_a_capture_is_of_one_sequence(server, body):
    error = server.error("/v1/completions/with_activations", 400, **body)
    assert error["param"].partition(".")[0] == ("n" if "n" in body else "prompt")


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("as_ids", [False, True])
@pytest.mark.parametrize("max_tokens", [0, 1, 5])
@pytest.mark.parametrize("stream", [False, True])
def test_an_echoed_prompt_is_scored(server, model, as_ids, max_tokens, stream):
    network, tokenizer = model
    tokens = tokenizer.encode(TEXT)
    asked = {"prompt": tokens if as_ids else TEXT, "max_tokens": max_tokens}
    body = asked | {"echo": True, "logprobs": 3}
    if stream:
        parts = [c["choices"][0] for c in streamed(server, "/v1/completions", **body, stream=True)]
        told = [part["logprobs"] for part in parts if part["logprobs"]]
        logprobs = {name: [each for part in told for each in part[name]] for name in told[0]}
        text = "".join(part["text"] for part in parts)
        assert (parts[-1]["text"], parts[-1]["finish_reason"]) == ("", "length")
    else:
        reply = server.post("/v1/completions", **body)
        (one,) = reply["choices"]
        logprobs, text = one["logprobs"], one["text"]
        assert one["finish_reason"] == "length"
        assert reply["usage"]["completion_tokens"] == max_tokens
        assert reply["usage"]["prompt_tokens"] == len(tokens)
    completed = choice(server, **(asked | {"logprobs": 3})) if max_tokens else {"text": ""}
    assert text == TEXT + completed["text"]
    assert logprobs["text_offset"][: len(tokens)] == [*range(len(TEXT))]
    assert (logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]) == (None, None)
    rows = log_softmax(np.array(network(mx.array([tokens])))[0])
    expected = rows[range(len(tokens) - 1), tokens[1:]]
    found = logprobs["token_logprobs"][1 : len(tokens)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    for row, top in zip(rows, logprobs["top_logprobs"][1 : len(tokens)], strict=False):
        likeliest = sorted(top.values(), reverse=True)[:3]
        np.testing.assert_allclose(likeliest, np.sort(row)[:-4:-1], rtol=0, atol=1e-4)
    if max_tokens:
        after = completed["logprobs"]
        assert logprobs["tokens"][len(tokens) :] == after["tokens"]
        assert logprobs["token_logprobs"][len(tokens) :] == after["token_logprobs"]
        offsets = [len(TEXT) + offset for offset in after["text_offset"]]
        assert logprobs["text_offset"][len(tokens) :] == offsets


@pytest.mark.parametrize("prompt", ["héllo wörld", "🎉 x", " two  spaces", "\n"])
def test_an_echo_is_the_prompt_whatever_is_in_it(server, prompt):
    one = choice(server, prompt=prompt, max_tokens=0, echo=True, logprobs=0)
    assert one["text"] == prompt
    assert len(one["logprobs"]["tokens"]) == len(prompt.encode())
    starts = np.cumsum([0] + [len(char.encode()) for char in prompt])[:-1]
    assert [one["logprobs"]["text_offset"][n] for n in starts] == [*range(len(prompt))]


def test_an_echo_needs_no_logprobs(server):
    body = {"prompt": PROMPTS, "max_tokens": 3}
    plain = [one["text"] for one in server.post("/v1/completions", **body)["choices"]]
    reply = server.post("/v1/completions", **body, echo=True)
    expected = [prompt + text for prompt, text in zip(PROMPTS, plain, strict=True)]
    assert [one["text"] for one in reply["choices"]] == expected
    assert [one["logprobs"] for one in reply["choices"]] == [None] * 3
    nothing = server.post("/v1/completions", prompt=PROMPTS, echo=True, max_tokens=0)
    assert [one["text"] for one in nothing["choices"]] == PROMPTS
    assert nothing["usage"]["completion_tokens"] == 0
    assert server.error("/v1/completions", 400, prompt=TEXT, max_tokens=0)["message"] == (
        "max_tokens: 0 needs echo to be true"
    )


def test_a_scored_prompt_is_captured_and_changed_as_one_pass(server):
    hook = {"layer_name": "*", "component": "residual"}
    change = {"layer_name": "1", "component": "mlp", "operation": "ablation"}
    body = {"prompt": TEXT, "activation_hooks": [hook], "interventions": [change]}
    path = "/v1/completions/with_activations"
    scored = server.post(path, **body, max_tokens=0, echo=True, logprobs=1)
    forward = server.post("/v1/forward", **body, logits="all")
    store = server.service.captures
    ours = store.get(scored["capture_id"]).activations
    whole = store.get(forward["capture_id"]).activations
    for hook_id, (record,) in ours.items():
        np.testing.assert_allclose(record.data, whole[hook_id][0].data, rtol=0, atol=1e-5)
    rows = log_softmax(whole["logits"][0].data[0])
    expected = rows[range(len(rows) - 1), forward["tokens"][0][1:]]
    found = scored["choices"][0]["logprobs"]["token_logprobs"][1:]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
