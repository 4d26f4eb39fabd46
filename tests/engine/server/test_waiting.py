"""A short request passes long work of each kind: the order is counted in steps, not in seconds."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import engine.runs.steps
import engine.server.jobs.task
from engine.server.jobs.job import Job
from tests.engine.server.conftest import running

NAMED = {"X-Request-Id": "short"}
SHORT = {"prompt": "hello", "max_tokens": 1}
MOST_STEPS = 3
"""Of the long work, after the one during which the short request comes."""
CLEAN, CORRUPTED = "abcdefgh" * 8, "abcdefgh" * 7 + "abcdeXgh"
TASK = {"clean": CLEAN, "corrupted": CORRUPTED, "answer": "a", "distractor": "b"}
HOOK = {"layer_name": "1", "component": "residual"}
LONG = {
    "patchCircuit": ("/v1/circuits/patch", TASK | {"component": "residual", "positions": "each"}),
    "verifyCircuit": ("/v1/circuits/verify", TASK | {"circuit": [{"layer": 0, "head": 1}]}),
    "logitLens": ("/v1/logit_lens", {"prompt": CLEAN}),
    "createEmbeddings": ("/v1/embeddings", {"input": [CLEAN[:n] for n in range(1, 9)]}),
    "forward": ("/v1/forward", {"tokens": [[1] * 7000]}),
    "createCompletion": ("/v1/completions", {"prompt": [1] * 6000, "max_tokens": 9}),
    "beginCompletionSession": (
        "/v1/completions/with_breakpoints",
        {"prompt": [1] * 3000, "max_tokens": 1, "breakpoints": [HOOK | {"positions": [-1]}]},
    ),
    "loadModel": ("/v1/models/load", {"model_id": "another"}),
}


@pytest.fixture(scope="module")
def stepping(tiny_model):
    """A server to whose jobs each layer of the tiny model is a long step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.runs.steps, "CPU", 1.0)
        patch.setattr(engine.runs.steps, "GPU", 1.0)
        patch.setattr(engine.server.jobs.task, "SHORTEST_TURN", 0.0)
        with running(tiny_model, model_roots=(tiny_model.parent,)) as server:
            yield server


@pytest.fixture
def body_of(tiny_model):
    def body(operation):
        path, fields = LONG[operation]
        return path, fields | ({"model_path": str(tiny_model)} if "load" in path else {})

    return body


@pytest.fixture
def asked(stepping, body_of):
    """Asks for long work, in another thread."""
    with ThreadPoolExecutor() as pool:

        def ask(operation):
            path, body = body_of(operation)
            headers = {"X-Request-Id": "long"}
            return pool.submit(stepping.http.post, path, json=body, headers=headers, timeout=60)

        yield ask


@pytest.fixture
def at_second_step(monkeypatch):
    """Calls a function in the second step of long work; returns a list that gets its steps."""

    def arrange(function):
        steps, checkpoint = [], Job.checkpoint

        def counted(job, until=None):
            if job.client.request_id == "long":
                steps.append(job)
                if len(steps) == 2:
                    function()
            checkpoint(job, until)

        monkeypatch.setattr(Job, "checkpoint", counted)
        return steps

    return arrange


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("operation", LONG)
def test_a_short_request_passes_long_work(stepping, monkeypatch, asked, at_second_step, operation):
    worker, finish, passed = stepping.service.worker, Job.finish, []

    def finished(job, error=None):
        if job.client.request_id == "short":
            passed.append(len(steps))
        finish(job, error)

    def begin_short():
        short.append(pool.submit(stepping.http.post, "/v1/completions", json=SHORT, headers=NAMED))
        until(lambda: worker.queue_depth)

    monkeypatch.setattr(Job, "finish", finished)
    steps, short = at_second_step(begin_short), []
    with ThreadPoolExecutor() as pool:
        reply = asked(operation).result(60)
        assert reply.status_code == 200, reply.text
        assert short[0].result(60).status_code == 200
    assert passed[0] - 2 <= MOST_STEPS < len(steps)
    assert 0 < steps[0].progress.done <= steps[0].progress.total
    if "session_id" in reply.json():
        stepping.http.delete(f"/v1/sessions/{reply.json()['session_id']}")
    if operation == "loadModel":
        stepping.post("/v1/models/unload", model="another")


@pytest.mark.parametrize("operation", LONG)
def test_long_work_ends_at_the_step_after_its_client_has_left(
    stepping, body_of, at_second_step, operation
):
    def leave():
        client.close()
        until(lambda: steps[0].abandoned)

    steps, listener = at_second_step(leave), stepping.listener
    path, body = body_of(operation)
    content = json.dumps(body)
    with socket.create_connection(("127.0.0.1", listener.effective_port)) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: long\r\n"
        client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
        until(lambda: client.fileno() < 0)
    until(lambda: not stepping.service.worker.jobs())
    assert len(steps) == 2
    assert stepping.service.models.loading is False
    stepping.post("/v1/completions", **SHORT)
