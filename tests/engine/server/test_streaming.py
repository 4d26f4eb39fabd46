"""Streams: an event a token, out as soon as it is there, and cancelled with their client."""

import json
import threading
import time

import httpx
import numpy as np
import pytest

from engine.runs.run import Run
from engine.server.jobs.job import Job
from tests.engine.server.conftest import LAYERS

ASKED = {"prompt": "in the beginning", "max_tokens": 4, "stream": True}
HOOK = {"layer_name": "*", "component": "residual"}


def events(response):
    for line in response.iter_lines():
        if line:
            name, _, data = line.partition(": ")
            assert name == "data"
            yield data


def streamed(server, path, **body):
    with server.http.stream("POST", path, json=body) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        *chunks, done = events(response)
    assert done == "[DONE]"
    return [json.loads(chunk) for chunk in chunks]


@pytest.fixture
def gate(server, monkeypatch):
    """Holds the generation thread after each result until it is opened; counts what it made."""

    class Gate(threading.Event):
        made = 0

    gate = Gate()
    put = Job.put

    def gated(job, result):
        gate.made += 1
        put(job, result)
        gate.wait(10)

    monkeypatch.setattr(Job, "put", gated)
    yield gate
    gate.set()


def test_the_events_together_are_the_whole_completion(server):
    whole = server.post("/v1/completions", **(ASKED | {"stream": False, "logprobs": 1}))
    chunks = streamed(server, "/v1/completions", **ASKED, logprobs=1)
    (choice,) = whole["choices"]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == choice["text"]
    *parts, end = (chunk["choices"][0] for chunk in chunks)
    assert [part["logprobs"]["text_offset"][0] for part in parts] == choice["logprobs"][
        "text_offset"
    ]
    assert [part["finish_reason"] for part in parts] == [None] * 4
    assert end == {"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}


def test_usage_ends_the_stream_where_it_is_asked_for(server):
    chunks = streamed(server, "/v1/completions", **ASKED, stream_options={"include_usage": True})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 4


def test_each_event_holds_its_tokens_records_and_the_capture_holds_them_all(server):
    path = "/v1/completions/with_activations"
    *chunks, end = streamed(
        server, path, **ASKED, activation_hooks=[HOOK], activation_format="array"
    )
    assert [len(chunk["activations"]) for chunk in chunks] == [LAYERS] * 4
    assert end["activations"] == {}
    records = [chunk["activations"]["layer_1_residual"][0] for chunk in chunks]
    assert [record["step"] for record in records] == [0, 1, 2, 3]

    (capture_id,) = {chunk["capture_id"] for chunk in (*chunks, end)}
    kept = server.service.captures.get(capture_id).activations["layer_1_residual"]
    for record, capture in zip(records, kept, strict=True):
        np.testing.assert_array_equal(np.float32(record["data"]), capture.data)


def test_the_first_event_leaves_before_the_second_token_is_there(server, gate):
    with server.http.stream("POST", "/v1/completions", json=ASKED) as response:
        arriving = events(response)
        next(arriving)
        assert gate.made == 1
        gate.set()
        assert list(arriving)[-1] == "[DONE]"


def test_a_client_that_goes_away_cancels_its_generation_within_a_token(server, gate):
    with server.http.stream(
        "POST", "/v1/completions/with_activations", json=ASKED | {"activation_hooks": [HOOK]}
    ) as response:
        next(events(response))
    captures = len(server.service.captures.all())
    time.sleep(0.2)  # for the closed connection to be noticed
    gate.set()
    assert server.service.worker.call(lambda job: "next") == "next"
    assert gate.made - 1 <= 2  # the call's own result counts
    assert len(server.service.captures.all()) == captures


def test_a_client_that_does_not_wait_for_a_whole_answer_cancels_it_too(server, gate):
    with pytest.raises(httpx.ReadTimeout):
        server.http.post("/v1/completions", json=ASKED | {"stream": False}, timeout=0.3)
    time.sleep(0.2)
    gate.set()
    server.service.worker.call(lambda job: None)
    assert gate.made - 1 <= 2


def test_others_go_on_when_a_client_goes_away(server):
    alone = server.post("/v1/completions", **(ASKED | {"stream": False}))["choices"]
    answers = []

    def ask():
        answers.append(server.post("/v1/completions", **(ASKED | {"stream": False}))["choices"])

    with server.http.stream("POST", "/v1/completions", json=ASKED | {"max_tokens": 500}) as gone:
        next(events(gone))
        others = [threading.Thread(target=ask) for _ in range(4)]
        for other in others:
            other.start()
    for other in others:
        other.join(30)
    assert answers == [alone] * 4


def test_what_is_refused_before_the_first_event_has_its_own_status(server):
    unknown = HOOK | {"layer_name": "77"}
    path = "/v1/completions/with_activations"
    assert server.error(path, 422, **ASKED, activation_hooks=[unknown])["type"] == "unknown_layer"


def test_what_fails_later_is_the_last_event(server, monkeypatch):
    original = Run.result

    def breaking(run, step):
        monkeypatch.setattr(Run, "result", broken)
        return original(run, step)

    def broken(run, step):
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(Run, "result", breaking)
    with server.http.stream("POST", "/v1/completions", json=ASKED) as response:
        first, last = events(response)
    assert "choices" in first
    assert json.loads(last)["error"]["code"] == 500
    assert "secret" not in last
