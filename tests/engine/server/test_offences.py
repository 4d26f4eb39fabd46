"""Errors name fields as their client wrote them, and are never long."""

import json

import pytest

FORWARD, COMPLETE, CHAT = "/v1/forward", "/v1/completions", "/v1/chat/completions"
PATCH = "/v1/circuits/patch"
TASK = {"clean": "a", "corrupted": "b", "answer": "c", "distractor": "d"}
INNER = ("constrained", "function-", "list[", "literal[", "Value error", "validation", "Request")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (COMPLETE, {}, "prompt: Field required"),
        (COMPLETE, {"prompt": 5}, "prompt: Input should be a valid string or a valid array"),
        (COMPLETE, {"prompt": [1, "a"]}, "prompt.1: Input should be a valid integer"),
        (COMPLETE, {"prompt": ["a", 1]}, "prompt.1: Input should be a valid string"),
        (COMPLETE, {"prompt": ["a", ""]}, "prompt.1: String should have at least 1 character"),
        (COMPLETE, {"prompt": [[1], ["a"]]}, "prompt.1.0: Input should be a valid integer"),
        (COMPLETE, {"prompt": [[]]}, "prompt.0: List should have at least 1 item, not 0"),
        (COMPLETE, {"prompt": []}, "prompt: List should have at least 1 item, not 0"),
        (COMPLETE, {"prompt": "a", "stop": [""]}, "stop.0: String should have at least 1 char"),
        (COMPLETE, {"prompt": "a", "stop": ["a", 1]}, "stop.1: Input should be a valid string"),
        (COMPLETE, {"prompt": "a", "stream": 0}, "stream: Input should be a valid boolean"),
        (COMPLETE, {"prompt": "a", "logit_bias": {"x": 1}}, "logit_bias.x: String should match"),
        (COMPLETE, {"prompt": "a", "nope": 1}, "nope: Extra inputs are not permitted"),
        (COMPLETE, [], "Input should be an object"),
        (CHAT, {"messages": [{"role": "x", "content": "a"}]}, "messages.0.role: Input should be"),
        (CHAT, {"messages": [5]}, "messages.0: Input should be an object"),
        (FORWARD, {"prompt": [[1], [1.5]]}, "prompt.1.0: Input should be a valid integer"),
        (FORWARD, {"tokens": "a"}, "tokens: Input should be a valid array"),
        (PATCH, TASK | {"answer": []}, "answer: Input should be a valid string or a valid integer"),
        (PATCH, TASK | {"positions": "x"}, "positions: Input should be 'all' or 'each' or a valid"),
        (PATCH, TASK | {"positions": [0, "x"]}, "positions.1: Input should be a valid integer"),
        (PATCH, TASK | {"sets": [[{"layer": -1}]]}, "sets.0.0.layer: Input should be greater"),
    ],
)
def test_a_message_begins_with_the_field_that_is_wrong(server, path, body, message):
    response = server.http.post(path, json=body)
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["message"].startswith(message)
    assert error["param"] == (message.partition(":")[0] if ":" in message else None)
    assert not any(word in response.text for word in INNER)


@pytest.mark.parametrize(
    "breakpoints", [{"stream": 0}, {"stream": True}, {"echo": True}, {"n": 2}], ids=str
)
def test_what_a_session_cannot_be_is_refused_by_name(server, breakpoints):
    body = {"prompt": "a", "breakpoints": [{"layer_name": "0", "component": "mlp"}]}
    (name,) = breakpoints
    error = server.error("/v1/completions/with_breakpoints", 400, **body, **breakpoints)
    assert error["param"] == name


def test_the_first_ten_offences_are_told_and_the_others_counted(server):
    error = server.error(COMPLETE, 400, prompt=[""] * 1000)
    assert error["message"].endswith(
        "prompt.9: String should have at least 1 character; and 990 more"
    )
    assert error["message"].count("; ") == 10
    eleven = server.error(FORWARD, 400, prompt="a", **{f"x{n}": 1 for n in range(11)})
    assert eleven["message"].endswith("x9: Extra inputs are not permitted; and 1 more")


MANY = 200_000
LONG = "k" * 1_000_000
LARGE = {
    "bad prompts": (COMPLETE, {"prompt": [""] * MANY}),
    "bad lists": (COMPLETE, {"prompt": [[""]] * MANY}),
    "bad ids": (FORWARD, {"tokens": [""] * MANY}),
    "bad batch": (FORWARD, {"prompt": [["a"]] * MANY}),
    "messages": (CHAT, {"messages": [{}] * MANY}),
    "hooks": (FORWARD, {"prompt": "a", "activation_hooks": [{}] * MANY}),
    "positions": (
        FORWARD,
        {"prompt": "a", "activation_hooks": [{"layer_name": "0", "positions": ["a"] * MANY}]},
    ),
    "sets": (PATCH, TASK | {"sets": [[{}] * MANY]}),
    "layers": (PATCH, TASK | {"layers": [-1] * MANY}),
    "unknown fields": (FORWARD, {f"k{n}": 1 for n in range(MANY)}),
    "biases": (COMPLETE, {"prompt": "a", "logit_bias": {f"k{n}": "a" for n in range(MANY)}}),
    "metadata": (COMPLETE, {"prompt": "a", "metadata": {f"k{n}": 1 for n in range(MANY)}}),
    "tools": (CHAT, {"messages": [{"role": "user", "content": "a"}], "tools": [{}] * MANY}),
    "a name": (FORWARD, {LONG: 1}),
    "a stop string": (COMPLETE, {"prompt": "a", "stop": LONG}),
    "a hook's id": (
        FORWARD,
        {"prompt": "a", "activation_hooks": [{"layer_name": "0", "hook_id": LONG}]},
    ),
    "a capture's id": (
        FORWARD,
        {
            "prompt": "a",
            "interventions": [
                {"layer_name": "0", "component": "mlp", "operation": "patching", "capture_id": LONG}
            ],
        },
    ),
    "a path": ("/v1/models/load", {"model_path": LONG}),
    "an id": ("/v1/models/load", {"model_path": "tiny", "model_id": LONG}),
    "dimensions": (
        "/v1/sessions/none",
        {"value": {"shape": [1] * 65, "data": 1}},
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_however_much_is_wrong_the_answer_is_short(server, name):
    path, body = LARGE[name]
    response = server.http.post(path, content=json.dumps(body))
    assert response.status_code in (400, 404)
    assert len(response.content) < 5000


@pytest.mark.parametrize("field", ["model", "prompt"])
def test_what_a_client_wrote_is_not_told_back_at_length(server, field):
    body = {"prompt": "a", "max_tokens": 1} | {field: LONG * 2}
    response = server.http.post(COMPLETE, json=body)
    assert response.status_code in (404, 422)
    assert len(response.content) < 5000


@pytest.mark.parametrize("dimensions", [9, 65, 120])
def test_values_of_many_dimensions_are_refused(server, dimensions):
    data = 1.0
    for _ in range(dimensions):
        data = [data]
    value = {"shape": [2], "data": data}
    change = {"layer_name": "0", "component": "mlp", "operation": "replacement", "value": value}
    error = server.error(FORWARD, 422, prompt="a", interventions=[change])
    assert error["param"] == "interventions.0.value"
    value["shape"] = [1] * dimensions
    error = server.error(FORWARD, 400, prompt="a", interventions=[change])
    assert error["param"] == "interventions.0.value.shape"


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    "body",
    [
        f'{{"prompt": "a", "top_k": {DIGITS}}}',
        f'{{"tokens": [{DIGITS}]}}',
        f'{{"prompt": "a", "activation_hooks": [{{"layer_name": "{DIGITS}"}}]}}',
    ],
)
def test_numbers_of_5000_digits_are_refused(server, body):
    assert server.http.post(FORWARD, content=body).status_code == 400
