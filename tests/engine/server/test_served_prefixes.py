"""Prompts that begin as earlier ones over HTTP: their answers, captures and counts."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.engine.server.conftest import running
from tests.engine.server.test_streaming import streamed

TEXT = "When Mary and John went to the store, John gave a drink to"
CAPTURING = "/v1/chat/completions/with_activations"


@pytest.fixture(scope="module")
def cold(tiny_model):
    with running(tiny_model, prefix_bytes=0) as server:
        yield server


@pytest.fixture
def warm(tiny_model):
    with running(tiny_model) as server:
        yield server


def cached(reply):
    return reply["usage"]["prompt_tokens_details"]["cached_tokens"]


def metric(server, name):
    lines = server.http.get("/metrics").text.splitlines()
    return sum(float(each.split()[-1]) for each in lines if each.startswith(f"neuroscope_{name} "))


def test_a_conversation_that_grows_is_read_in_part_and_answered_alike(warm, cold):
    messages, before = [], 0
    for turn in range(3):
        messages.append({"role": "user", "content": f"{TEXT} {turn}"})
        asked = {
            "messages": messages,
            "max_tokens": 8,
            "logprobs": True,
            "activation_hooks": [
                {"layer_name": "*", "component": "attention_pattern", "positions": [-1]}
            ],
            "activation_format": "array",
        }
        reply, expected = (server.post(CAPTURING, **asked) for server in (warm, cold))
        assert cached(expected) == 0
        assert before <= cached(reply) < before + 12
        assert_alike(reply["choices"], expected["choices"])
        assert_alike(reply["activations"], expected["activations"])
        messages.append(reply["choices"][0]["message"])
        before = reply["usage"]["prompt_tokens"]
    for field in ("bytes", "total"):
        name = {"bytes": "prefix_bytes", "total": 'prefixes_total{result="hit"}'}[field]
        assert metric(warm, name) > 0
        assert metric(cold, name) == 0
    assert metric(warm, 'tokens_total{kind="cached"}') > before - 100


def test_every_form_of_reply_reuses_and_counts(warm, cold):
    asked = {"prompt": TEXT, "max_tokens": 6}
    expected = cold.post("/v1/completions", **asked)
    count = expected["usage"]["prompt_tokens"]
    first = warm.post("/v1/completions", **asked)
    assert cached(first) == 0
    again = warm.post("/v1/completions", **asked)
    assert cached(again) == count - 1
    assert first["choices"] == again["choices"] == expected["choices"]
    counted = {"stream": True, "stream_options": {"include_usage": True}}
    events = streamed(warm, "/v1/completions", **asked, **counted)
    assert cached(events[-1]) == count - 1
    text = "".join(event["choices"][0]["text"] for event in events[:-1])
    assert text == expected["choices"][0]["text"]
    several = warm.post("/v1/completions", **asked | {"prompt": [TEXT, "x" * 40, TEXT], "n": 2})
    assert cached(several) == 2 * (count - 1)
    for place in (0, 1, 4, 5):
        assert several["choices"][place]["text"] == text
    for _ in range(2):
        reply = warm.post("/v1/responses", input=TEXT, max_output_tokens=3)
    usage = reply["usage"]
    assert usage["input_tokens_details"]["cached_tokens"] == usage["input_tokens"] - 1


def test_hooks_registered_or_asked_for_see_all_of_what_they_name(warm, cold):
    asked = {"prompt": TEXT, "max_tokens": 4}
    steer = {"layer_name": "1", "component": "residual", "operation": "scaling", "factor": 3.0}
    whole = {"activation_hooks": [{"layer_name": "*", "component": "residual"}]}
    changed = {"interventions": [steer]}
    path = "/v1/completions/with_activations"
    plain = warm.post("/v1/completions", **asked)
    for more in (whole, changed, whole | changed):
        more |= {"activation_format": "array"}
        reply, expected = (server.post(path, **asked, **more) for server in (warm, cold))
        assert cached(reply) == 0
        assert_alike(reply["choices"], expected["choices"])
        assert_alike(reply["activations"], expected["activations"])
    hook = {"layer_name": "0", "component": "residual", "hook_id": "kept"}
    warm.post("/v1/activations/hooks", hooks=[hook])
    reply = warm.post("/v1/completions", **asked)
    assert cached(reply) == 0
    assert reply["choices"] == plain["choices"]


def test_clients_at_once_get_what_they_get_without(warm, cold):
    """Twice the same mixture: the second time all prompts have been there."""
    requests = [
        ("/v1/completions", {"prompt": f"{TEXT} {end}", "max_tokens": 3 + place, **more})
        for place, end in enumerate(("", "her", "him", "Mary again"))
        for more in ({}, {"temperature": 1.0, "seed": place}, {"logit_bias": {"40": 3.0}})
    ] + [
        (
            "/v1/completions/with_activations",
            {
                "prompt": TEXT,
                "max_tokens": 5,
                "activation_hooks": [
                    {"layer_name": "*", "component": component, "positions": positions}
                ],
                "activation_format": "array",
            },
        )
        for component in ("residual", "attention_pattern", "key")
        for positions in ([-1], [20, -2], "generated", "all")
    ]
    expected = [cold.post(path, **body) for path, body in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        for _ in range(2):
            replies = pool.map(lambda each: warm.post(each[0], **each[1]), requests)
            for reply, wanted in zip(replies, expected, strict=True):
                assert_alike(reply["choices"], wanted["choices"])
                assert_alike(reply.get("activations"), wanted.get("activations"))


def test_an_unloaded_model_takes_its_prompts_with_it(warm, tiny_model):
    warm.post("/v1/completions", prompt=TEXT, max_tokens=2)
    assert metric(warm, "prefix_bytes") > 0
    warm.post("/v1/models/unload", model="tiny")
    assert metric(warm, "prefix_bytes") == 0


def assert_alike(ours, theirs):
    """The same texts, and numbers that differ by rounding."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert_alike(ours[key], theirs[key])
    elif isinstance(theirs, list) and theirs and not isinstance(theirs[0], int | float):
        for one, other in zip(ours, theirs, strict=True):
            assert_alike(one, other)
    elif isinstance(theirs, list | float):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    else:
        assert ours == theirs
