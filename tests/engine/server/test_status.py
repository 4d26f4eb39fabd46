"""Health and metrics are answered on a thread of their own, whatever else goes on."""

import resource
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.engine.server.conftest import running
from tests.engine.server.test_process import serving

SOON = 2.0


def metrics(http):
    answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_count_requests_tokens_and_bytes(tiny_model, tmp_path):
    with running(tiny_model, capture_bytes=4000, spill_folder=tmp_path) as server:
        asked = {"prompt": "hello", "max_tokens": 3}
        hook = {"layer_name": "*", "component": "residual"}
        for stream in (False, True):
            server.http.post("/v1/completions", json=asked | {"stream": stream})
        server.http.post("/v1/completions", json={"nonsense": 1})
        ids = [
            server.post("/v1/forward", prompt="hello", activation_hooks=[hook], logits="none")[
                "capture_id"
            ]
            for _ in range(3)
        ]
        got = metrics(server.http)
        sizes = {c["capture_id"]: c["bytes"] for c in server.get("/v1/activations")["captures"]}
    assert got["neuroscope_requests_total", "200", "createCompletion"] == 2
    assert got["neuroscope_requests_total", "400", "createCompletion"] == 1
    assert got["neuroscope_request_seconds_count", "createCompletion"] == 3
    assert got["neuroscope_tokens_total", "prompt"] == 2 * len("hello")
    assert got["neuroscope_tokens_total", "generated"] == 2 * 3
    assert got["neuroscope_capture_bytes",] + sum(
        sizes[i] for i in ids if (tmp_path / f"{i}.safetensors").exists()
    ) == sum(sizes.values())
    assert got["neuroscope_spilled_bytes",] == sum(f.stat().st_size for f in tmp_path.iterdir())
    assert got["neuroscope_models_loaded",] == 1
    assert got["neuroscope_ready",] == 1
    assert got["neuroscope_queue_depth",] == 0
    assert got["neuroscope_jobs_under_way",] == got["neuroscope_batch_rows",] == 0
    assert got["neuroscope_host_pool_bytes",] >= 0
    passes = got["neuroscope_batch_size_count",]
    assert got["neuroscope_turn_seconds_count", "shared passes"] == passes > 2 * 3
    assert got["neuroscope_batch_size_sum",] == passes
    forward = got["neuroscope_longest_turn_seconds", "forward"]
    assert 0 < forward <= got["neuroscope_turn_seconds_sum", "forward"]
    assert got["neuroscope_mlx_memory_bytes",] > 0


def test_metrics_need_the_token(tiny_model):
    with running(tiny_model, token="s3cret") as server:
        assert server.http.get("/metrics").status_code == 401


def assert_live(http):
    """Both are answered soon, several times."""
    for path in ("/health", "/metrics") * 3:
        started = time.monotonic()
        assert http.get(path).status_code == 200
        assert time.monotonic() - started < SOON, path


def test_they_are_live_while_every_other_thread_is_busy(tiny_model):
    with running(tiny_model, queue_size=2) as server:
        lock = server.service.models.get(None).lock
        busy = [
            threading.Thread(
                target=httpx.post,
                args=(f"{server.listener.url}/v1/tokenize",),
                kwargs={"json": {"text": "a"}, "timeout": 60},
            )
            for _ in range(40)
        ]
        with lock:
            for thread in busy:
                thread.start()
            time.sleep(0.5)
            assert_live(server.http)
        for thread in busy:
            thread.join()


def test_they_are_live_while_a_long_text_is_tokenised(server):
    texts = {"text": "hello wörld " * 20_000}
    thread = threading.Thread(
        target=server.http.post, args=("/v1/tokenize",), kwargs={"json": texts}
    )
    thread.start()
    assert_live(httpx.Client(base_url=server.listener.url))
    thread.join()


def test_they_are_live_while_a_model_loads(server, tiny_model, monkeypatch):
    from engine.server.state import models

    load, begun, go_on = models.load_model, threading.Event(), threading.Event()

    def slow(*arguments, **options):
        begun.set()
        go_on.wait(20)
        return load(*arguments, **options)

    monkeypatch.setattr(models, "load_model", slow)
    thread = threading.Thread(
        target=server.http.post,
        args=("/v1/models/load",),
        kwargs={"json": {"model_path": str(tiny_model), "model_id": "slow"}},
    )
    thread.start()
    begun.wait(20)
    with httpx.Client(base_url=server.listener.url) as http:
        assert_live(http)
        assert http.get("/health").json()["status"] == "loading"
    go_on.set()
    thread.join()
    server.post("/v1/models/unload", model="slow")


@contextmanager
def slow_connections(url, count):
    """Connections that have sent half of a request, some of which go on sending."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 500:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 500), hard))
    address = (httpx.URL(url).host, httpx.URL(url).port)
    with ExitStack() as opened:
        slow = []
        for _ in range(count):
            connection = opened.enter_context(socket.create_connection(address, timeout=20))
            connection.sendall(b"POST /v1/forward HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            slow.append(connection)
        for connection in slow[-300:]:
            try:
                connection.sendall(b"1")
            except OSError:  # it made room for another
                continue
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("files", [None, 1024])
def test_they_are_live_under_1100_slow_connections(tiny_model, files):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files:  # the process inherits the limit, which it may raise or not
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, limits[1]))
    try:
        with serving(tiny_model) as (_, url):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            with slow_connections(url, 1100), httpx.Client(base_url=url, timeout=10) as http:
                assert_live(http)
                asked = {"prompt": "a", "max_tokens": 1}
                assert http.post("/v1/completions", json=asked).status_code == 200
            with slow_connections(url, 1100):
                for _ in range(5):
                    assert httpx.get(f"{url}/health", timeout=SOON).status_code == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
