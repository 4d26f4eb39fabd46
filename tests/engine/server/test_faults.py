"""What goes wrong is answered, and the server goes on."""

import json
import shutil
import socket
import threading
import time

import httpx
import pytest

from engine.interventions.intervention import Intervention
from engine.server.http import prompts, specs
from engine.server.jobs.job import Client
from tests.engine.server.conftest import LAYERS, running

HOOK = {"layer_name": "*", "component": "residual"}


def raw(server, request, *, shut=False):
    """Send bytes as they are, and answer all that comes back."""
    with socket.create_connection(server.listener.socket.getsockname(), timeout=20) as connection:
        connection.sendall(request)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def goes_on(server):
    return server.post("/v1/completions", prompt="a", max_tokens=1)["object"] == "text_completion"


@pytest.fixture(scope="module")
def impatient(tiny_model):
    """A server that waits for nobody, and takes little."""
    with running(
        tiny_model, client_patience=1.0, max_body_bytes=2000, queue_size=2, max_prompt_tokens=64
    ) as server:
        yield server


def test_a_body_cut_off_harms_nobody(server):
    head = b"POST /v1/forward HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    assert raw(server, head + b'{"prompt":', shut=True) == b""
    assert goes_on(server)


@pytest.mark.parametrize("times", [2, 10])
def test_a_body_too_large_is_refused_with_the_limit(impatient, times):
    body = b'{"prompt": "' + b"a" * 2000 * times + b'"}'
    answer = impatient.http.post("/v1/forward", content=body)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == 413
    assert "2000" in answer.text or "8000" in answer.text
    assert goes_on(impatient)


def test_what_is_not_http_is_answered_in_json(server):
    answer = raw(server, b"nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == 400


def test_a_prompt_too_long_is_refused_with_the_limit(impatient):
    assert "64" in impatient.error("/v1/completions", 422, prompt="a" * 65)["message"]
    messages = [{"role": "user", "content": "a" * 65}]
    assert "64" in impatient.error("/v1/chat/completions", 422, messages=messages)["message"]


def test_a_model_path_that_no_file_system_has_is_refused(server):
    assert server.error("/v1/models/load", 400, model_path="a\0b")["param"] == "model_path"


def test_a_text_too_long_is_refused_before_it_is_tokenised(tiny_model):
    with running(tiny_model, max_prompt_characters=10) as server:
        for body in ({"text": "a" * 11}, {"messages": [{"role": "user", "content": "a" * 11}]}):
            error = server.error("/v1/tokenize", 422, **body)
            assert (error["type"], "10" in error["message"]) == ("over_limit", True)


@pytest.fixture
def encoded(monkeypatch):
    """How many texts have been tokenised."""
    counted = []

    def encode(*arguments, **options):
        counted.append(arguments)
        return prompts_encode(*arguments, **options)

    prompts_encode = prompts.encode
    monkeypatch.setattr(prompts, "encode", encode)
    return counted


def test_texts_too_long_together_are_refused_before_one_is_tokenised(tiny_model, encoded):
    texts = ["a" * 9, "b" * 9]
    example = {"clean": "a" * 9, "corrupted": "b" * 9, "answers": ["a"], "distractors": ["b"]}
    with running(tiny_model, max_prompt_characters=10, max_batch_characters=15) as server:
        for path, body in (
            ("/v1/completions", {"prompt": texts}),
            ("/v1/embeddings", {"input": texts}),
            ("/v1/circuits/patch", {"examples": [example]}),
        ):
            error = server.error(path, 422, **body)
            assert error["type"] == "over_limit"
            assert "18 characters in all; at most 15" in error["message"]
    assert encoded == []


def test_a_client_that_leaves_before_its_turn_to_be_tokenised_is_not(server, encoded):
    with server.service.models.get(None).lock:
        with pytest.raises(httpx.ReadTimeout):
            server.http.post("/v1/completions", json={"prompt": "mine"}, timeout=0.1)
        time.sleep(0.3)
    assert goes_on(server)
    assert len(encoded) == 1


def test_the_progress_of_a_long_prompt_is_logged_under_its_request(server, caplog):
    with caplog.at_level("INFO"):
        headers = {"X-Request-Id": "long-one"}
        body = {"prompt": [1] * 3000, "max_tokens": 1}
        assert server.http.post("/v1/completions", json=body, headers=headers).status_code == 200
    mine = [r for r in caplog.records if getattr(r, "request_id", None) == "long-one"]
    progress = [r.getMessage() for r in mine if r.getMessage().startswith("prompt")]
    assert "prompt: 2048 of 3000 tokens" in progress


def test_a_client_that_goes_away_during_a_long_prompt_cancels_it(server, caplog):
    with caplog.at_level("INFO"):
        body = {"prompt": [1] * 30000, "max_tokens": 1}
        with pytest.raises(httpx.ReadTimeout):
            server.http.post("/v1/completions", json=body, timeout=0.05)
        assert goes_on(server)
    progress = [r.getMessage() for r in caplog.records if r.getMessage().startswith("prompt")]
    assert not any(message.startswith("prompt: 30000") for message in progress)


def test_a_hundred_hooks_all_capture(server):
    hooks = [
        {"layer_name": str(n % LAYERS), "component": "mlp", "hook_id": f"h{n}"} for n in range(100)
    ]
    answer = server.post("/v1/forward", prompt="a", activation_hooks=hooks)
    assert len(answer["activations"]) == 100
    too_many = [hooks[0] | {"hook_id": f"h{n}"} for n in range(1025)]
    error = server.error("/v1/forward", 400, prompt="a", activation_hooks=too_many)
    assert "1024" in error["message"]


def test_a_hook_on_a_missing_layer_is_answered_with_those_that_exist(server):
    for path in ("/v1/forward", "/v1/completions/with_activations"):
        error = server.error(path, 422, prompt="a", activation_hooks=[HOOK | {"layer_name": "33"}])
        assert error["type"] == "unknown_layer"
        assert f"0 to {LAYERS - 1}" in error["message"]


def test_a_full_queue_is_503_with_retry_after_and_health_still_answers(impatient):
    release = threading.Event()

    def waiting(job):
        yield release.wait(20)

    submit = impatient.service.worker.submit
    jobs = [submit(waiting, Client())]
    while impatient.service.worker.queue_depth:
        time.sleep(0.01)
    jobs += [submit(waiting, Client()) for _ in range(2)]
    refused = impatient.http.post("/v1/completions", json={"prompt": "a"})
    health = impatient.get("/health")
    release.set()
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json()["error"]["type"] == "queue_full"
    assert health["queue_depth"] == 2
    for job in jobs:
        list(job)
    assert goes_on(impatient)


def test_health_tells_when_the_generation_thread_is_stuck(tiny_model):
    release = threading.Event()

    def stuck(job):
        yield release.wait(20)

    with running(tiny_model, stuck_after=0.2) as server:
        job = server.service.worker.submit(stuck, Client())
        wait_until(lambda: not server.get("/health")["ready"])
        assert server.get("/health")["status"] == "failed"
        release.set()
        list(job)
        wait_until(lambda: server.get("/health")["ready"])


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_model_folder_that_misses_a_file_is_answered_with_its_name(
    server, tiny_model, missing, request
):
    broken = tiny_model.parent / "broken"
    shutil.copytree(tiny_model, broken)
    request.addfinalizer(lambda: shutil.rmtree(broken))
    (broken / missing).unlink()
    (broken / "tokenizer_config.json").unlink()
    error = server.error("/v1/models/load", 404, model_path=str(broken))
    assert error["type"] == "model_not_found"
    assert missing in error["message"]
    assert goes_on(server)


@pytest.mark.parametrize("header", [b"\xff" * 16, b"\x08\x00\x00\x00\x00\x00\x00\x00notjson!"])
def test_a_corrupt_safetensors_header_is_said_to_be_so(server, tiny_model, header, request):
    corrupt = tiny_model.parent / "corrupt"
    shutil.copytree(tiny_model, corrupt)
    request.addfinalizer(lambda: shutil.rmtree(corrupt))
    (corrupt / "model.safetensors").write_bytes(header)
    error = server.error("/v1/models/load", 422, model_path=str(corrupt))
    assert error["type"] == "unsupported_model"
    assert "Traceback" not in error["message"]
    assert goes_on(server)


def test_a_generation_that_raises_inside_a_tap_fails_alone(server, monkeypatch):
    model = server.service.models.get(None).kit.model
    before = [type(module) for _, module in model.named_modules()]

    def raising(value, point, positions):
        raise RuntimeError("inside the tap")

    change = Intervention("0", "residual", "function", function=raising)
    with monkeypatch.context() as broken:
        broken.setattr(specs, "interventions", lambda *_: (change,))
        error = server.error(
            "/v1/completions/with_activations", 500, prompt="a", activation_hooks=[HOOK]
        )
    assert "inside the tap" not in error["message"]
    assert [type(module) for _, module in model.named_modules()] == before
    answer = server.post("/v1/forward", prompt="a", activation_hooks=[HOOK])
    assert len(answer["activations"]) == LAYERS


def test_a_client_that_sends_too_slowly_is_cut_off(impatient):
    started = time.monotonic()
    with socket.create_connection(impatient.listener.socket.getsockname(), timeout=30) as slow:
        slow.sendall(b"POST /v1/forward HTTP/1.1\r\nHost: localhost\r\n")
        while time.monotonic() - started < 25:
            try:
                slow.sendall(b"X-Slow: 1\r\n")
            except OSError:
                break
            time.sleep(0.2)
        else:
            pytest.fail("the connection was kept")
    assert goes_on(impatient)


def test_a_client_that_reads_nothing_is_cut_off_and_frees_its_thread(impatient):
    big = {"tokens": [1] * 64, "logits": "all", "activation_format": "array"}
    big["activation_hooks"] = [
        {"layer_name": "*", "component": c} for c in ("residual", "attention_scores", "mlp")
    ]
    body = json.dumps(big).encode()
    head = f"POST /v1/forward HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        silent.connect(impatient.listener.socket.getsockname())
        silent.sendall((head.encode() + body) * 30)
        wait_until(lambda: is_connected(impatient, silent.getsockname()))
        wait_until(lambda: not is_connected(impatient, silent.getsockname()))
    assert goes_on(impatient)


def is_connected(server, address):
    return any(c.addr == address for c in list(server.listener.active_channels.values()))


def wait_until(condition):
    deadline = time.monotonic() + 25
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
