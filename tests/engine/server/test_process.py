"""`neuroscope-bridge serve` as a process: it starts, tells, survives, and leaves in good order."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

SERVE = [sys.executable, "-m", "bridge", "serve"]
DYING = """
import sys
from engine.server.http.choices import Choices
from bridge.cli import main

def die(*arguments, **options):
    raise SystemExit

Choices.run = die
main(sys.argv[1:])
"""


@contextmanager
def serving(model, *options, command=SERVE, **environment):
    """The process and its address, once it listens; its log goes to `process.log`."""
    process = subprocess.Popen(
        [*command, "--model", str(model), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    process.log = []
    reader = threading.Thread(target=lambda: process.log.extend(process.stderr), daemon=True)
    reader.start()
    try:
        for line in process.stdout:
            if address := re.search(r"http://[\w.:]+", line):
                yield process, address[0]
                break
        else:
            pytest.fail("".join(process.log))
    finally:
        process.kill()
        process.wait()
        reader.join()


def refused(*options, **environment):
    """What a server that does not start says."""
    result = subprocess.run(
        [*SERVE, "--port", "0", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr


def test_it_leaves_under_load_with_an_answer_to_everybody(tiny_model):
    asked = {"prompt": "hello", "max_tokens": 8000}
    answers = []

    def ask(stream):
        with httpx.stream(
            "POST", f"{url}/v1/completions", json=asked | {"stream": stream}, timeout=30
        ) as response:
            lines = [line for line in response.iter_lines() if line]
        answers.append(json.loads(lines[-1].removeprefix("data: "))["error"]["type"])

    with serving(tiny_model) as (process, url):
        clients = [threading.Thread(target=ask, args=(n % 2 == 0,)) for n in range(8)]
        for client in clients:
            client.start()
        while len(httpx.get(f"{url}/v1/jobs").json()["jobs"]) < len(clients):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(20)
        assert process.wait(20) == 0
    assert answers == ["shutting_down"] * 8


def test_a_dead_generation_thread_ends_the_process_with_a_status(tiny_model):
    with serving(tiny_model, command=[sys.executable, "-c", DYING, "serve"]) as (process, url):
        answer = httpx.post(f"{url}/v1/completions", json={"prompt": "a"}, timeout=20)
        assert answer.status_code == 500
        assert process.wait(20) == 70
    assert any("generation thread died" in line for line in process.log)


def test_its_json_log_tells_each_request_and_never_its_body(tiny_model):
    with serving(tiny_model, "--log-json") as (process, url):
        headers = {"X-Request-Id": "mine-1"}
        body = {"prompt": "a very private text", "max_tokens": 1}
        answer = httpx.post(f"{url}/v1/completions", json=body, headers=headers)
        assert answer.headers["X-Request-Id"] == "mine-1"
        other = httpx.get(f"{url}/health", headers={"X-Request-Id": "not\tplain"})
        process.terminate()
        process.wait(20)
    entries = [json.loads(line) for line in process.log if line.startswith("{")]
    (request,) = [entry for entry in entries if entry.get("request_id") == "mine-1"]
    assert (request["method"], request["path"], request["status"]) == (
        "POST",
        "/v1/completions",
        200,
    )
    assert request["milliseconds"] > 0
    assert re.fullmatch(r"[0-9a-f]{16}", other.headers["X-Request-Id"])
    assert not any("private" in line for line in process.log)


def test_a_client_cannot_write_lines_into_the_log(tiny_model):
    with serving(tiny_model) as (process, url):
        httpx.get(f"{url}/v1/activations/x%0A00:00:00%20INFO%20forged")
        process.terminate()
        process.wait(20)
    assert any(r"x\n00:00:00 INFO forged" in line for line in process.log)
    assert not any(line.startswith("00:00:00 INFO forged") for line in process.log)


def test_a_token_from_the_environment_is_required(tiny_model):
    with serving(tiny_model, NEUROSCOPE_TOKEN="t0ken") as (_, url):
        assert httpx.get(f"{url}/health").status_code == 401
        headers = {"Authorization": "Bearer t0ken"}
        assert httpx.get(f"{url}/health", headers=headers).status_code == 200


def test_it_does_not_listen_beyond_this_machine_without_a_token():
    assert "NEUROSCOPE_TOKEN" in refused("--host", "0.0.0.0", NEUROSCOPE_TOKEN="")


def test_a_wrong_model_is_named(tmp_path):
    assert "config.json" in refused("--model", str(tmp_path))


def test_a_taken_port_is_said_to_be_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in refused("--port", str(taken.getsockname()[1]))


def resident(process):
    """Resident memory of a process in kilobytes."""
    return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(process.pid)]))


def test_a_thousand_requests_with_captures_leave_no_memory_behind(tiny_model):
    body = {
        "prompt": "hello there",
        "max_tokens": 2,
        "activation_hooks": [{"layer_name": "*", "component": "residual"}],
    }
    with (
        serving(tiny_model, "--capture-budget", "1") as (process, url),
        httpx.Client(base_url=url) as http,
    ):
        for number in range(1100):
            answer = http.post("/v1/completions/with_activations", json=body)
            assert answer.status_code == 200
            if number == 99:
                before = resident(process)
        assert resident(process) < 1.05 * before
