"""LM Studio's REST interfaces: models that are downloaded, loaded, loaded on demand, unloaded."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.hub import hub
from tests.engine.server.conftest import Server, running

SAID = [{"role": "user", "content": "hello"}]


@pytest.fixture
def home(tiny_model: Path, tmp_path: Path) -> Iterator[Server]:
    """A server without `--allow-hub`, whose root has one more model than is loaded."""
    for name in ("somebody/tiny", "somebody/other"):
        shutil.copytree(tiny_model, tmp_path / name)
    with running(tmp_path / "somebody" / "tiny", model_roots=(tmp_path,), max_models=2) as server:
        yield server


def loaded(server: Server) -> list[str]:
    return [each["id"] for each in server.get("/v1/models")["data"]]


def eventually(
    told: Callable[[], dict[str, Any]], wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """What is told once it is as wanted."""
    deadline = time.monotonic() + 30
    while not wanted(reply := told()):
        assert time.monotonic() < deadline, reply
        time.sleep(0.01)
    return reply


def test_a_model_is_loaded_as_it_is_asked_for_and_unloaded(home: Server) -> None:
    path = "/api/v1/models/load"
    refused = home.error(path, 422, model="somebody/other", context_length=10**6)
    assert refused["param"] == "context_length"
    assert loaded(home) == ["tiny"]
    options = {"context_length": 12, "eval_batch_size": 3}
    told = home.post(path, model="somebody/other", echo_load_config=True, **options)
    assert (told["instance_id"], told["status"]) == ("somebody/other", "loaded")
    assert told["load_config"] == options
    (entry,) = (e for e in home.get("/api/v1/models")["models"] if e["key"] == "somebody/other")
    assert entry["loaded_instances"] == [{"id": "somebody/other", "config": options}]
    assert entry["max_context_length"] == home.service.settings.context_tokens
    assert home.error(path, 422, model="somebody/other", context_length=13)["param"] == (
        "context_length"
    )
    assert "no experts" in home.error(path, 422, model="somebody/other", num_experts=2)["message"]
    assert home.post(path, model="tiny")["instance_id"] == "tiny"
    assert home.error(path, 403, model="/etc")["param"] == "model_path"
    unloaded = home.post("/api/v1/models/unload", instance_id="somebody/other")
    assert unloaded == {"instance_id": "somebody/other"}
    assert loaded(home) == ["tiny"]


def test_a_context_length_and_a_batch_size_are_kept_to(
    home: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = {"context_length": 9, "eval_batch_size": 2}
    home.post("/api/v1/models/load", model="somebody/other", **load)
    asked = {"model": "somebody/other", "prompt": "once up"}
    whole = home.post("/v1/completions", **asked)
    same = home.post("/v1/completions", model="tiny", prompt="once up", max_tokens=2)
    assert whole["choices"] == same["choices"]
    assert whole["usage"]["total_tokens"] == 9
    assert home.error("/v1/completions", 422, max_tokens=3, **asked)["param"] == "max_tokens"
    long = {"model": "somebody/other", "prompt": "once upon a time"}
    assert "context_length of 9" in home.error("/v1/completions", 422, **long)["message"]
    widths: list[int] = []
    kind = type(home.service.models.get("tiny").kit.model.model)
    call = kind.__call__

    def counted(self: Any, tokens: Any, *args: Any, **options: Any) -> Any:
        widths.append(tokens.shape[1])
        return call(self, tokens, *args, **options)

    monkeypatch.setattr(kind, "__call__", counted)
    hook = {"layer_name": "1", "component": "residual"}
    records = []
    for model, widest in (("somebody/other", 2), ("tiny", 6)):
        widths.clear()
        body = {"prompt": "once up", "max_tokens": 1, "activation_hooks": [hook]}
        body["activation_format"] = "array"
        told = home.post("/v1/completions/with_activations", model=model, **body)
        assert max(widths) == widest  # the last token of the seven has a pass of its own
        records.append(next(iter(told["activations"].values()))[0]["data"])
    np.testing.assert_allclose(*records, atol=1e-5)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v0/chat/completions", {"messages": SAID, "max_tokens": 2}),
        ("/api/v0/completions", {"prompt": "a", "max_tokens": 2}),
        ("/v1/chat/completions", {"messages": SAID, "max_tokens": 2}),
        ("/v1/responses", {"input": "a", "max_output_tokens": 2}),
        ("/v1/embeddings", {"input": "a"}),
        ("/api/v1/chat", {"input": "hello", "max_output_tokens": 2}),
    ],
)
def test_a_request_loads_the_model_that_it_names(
    home: Server, path: str, body: dict[str, Any]
) -> None:
    told = home.post(path, model="somebody/other", **body)
    assert loaded(home) == ["tiny", "somebody/other"]
    assert home.post(path, model="somebody/tiny", **body)  # loaded already, by another id
    assert loaded(home) == ["tiny", "somebody/other"]
    home.error(path, 404, model="somebody/third", **body)
    home.error(path, 404, model="../somebody/other", **body)
    if path == "/api/v1/chat":
        assert told["stats"]["model_load_time_seconds"] > 0
        again = home.post(path, model="somebody/other", **body)
        assert "model_load_time_seconds" not in again["stats"]


def test_no_request_loads_more_models_than_may_be(home: Server, tiny_model: Path) -> None:
    root = home.service.settings.model_roots[0]
    shutil.copytree(tiny_model, root / "third")
    home.post("/v1/completions", model="third", prompt="a", max_tokens=1)
    error = home.error("/v1/completions", 422, model="somebody/other", prompt="a")
    assert error["type"] == "over_limit"
    assert loaded(home) == ["tiny", "third"]


def test_a_stream_tells_that_it_loaded_the_model(home: Server) -> None:
    asked = {"model": "somebody/other", "input": "hello", "max_output_tokens": 2, "stream": True}
    lines = home.http.post("/api/v1/chat", json=asked).text.splitlines()
    names = [line[7:] for line in lines if line.startswith("event: ")]
    assert names[:4] == [
        "chat.start",
        "model_load.start",
        "model_load.end",
        "prompt_processing.start",
    ]
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert (
        events[2]["load_time_seconds"] == events[-1]["result"]["stats"]["model_load_time_seconds"]
    )


def test_nothing_is_downloaded_unless_the_server_allows_it(home: Server) -> None:
    error = home.error("/api/v1/models/download", 403, model="some/model")
    assert "--allow-hub" in error["message"]
    here = home.post("/api/v1/models/download", model="somebody/other")
    assert here == {"status": "already_downloaded"}


def test_a_model_is_downloaded_with_progress_and_then_loads(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, size = threading.Event(), sum(file.stat().st_size for file in tiny_model.iterdir())
    repositories = {"some/model": tiny_model, "some/words": tmp_path / "words"}
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "config.json").write_text("{}")
    path = "/api/v1/models/download"
    with (
        hub(repositories, tmp_path / "hub", monkeypatch, gate),
        running(None, allow_hub=True) as server,
    ):
        begun = server.post(path, model="https://huggingface.co/some/model")
        assert (begun["status"], begun["total_size_bytes"]) == ("downloading", size)
        assert server.post(path, model="some/model")["job_id"] == begun["job_id"]

        def told() -> dict[str, Any]:
            return server.get(f"{path}/status/{begun['job_id']}")

        weights = (tiny_model / "model.safetensors").stat().st_size
        under_way = eventually(told, lambda it: it["downloaded_bytes"] > size - weights)
        assert under_way["downloaded_bytes"] <= size - weights // 2
        assert under_way["status"] == "downloading"
        assert under_way["bytes_per_second"] > 0
        assert under_way["estimated_completion"] > under_way["started_at"]
        assert server.get("/api/v1/models") == {"models": []}
        gate.set()
        over = eventually(told, lambda it: it["status"] == "completed")
        assert over["downloaded_bytes"] == size
        assert over["completed_at"] >= over["started_at"]
        assert server.post(path, model="some/model") == {"status": "already_downloaded"}
        assert [each["key"] for each in server.get("/api/v1/models")["models"]] == ["some/model"]
        server.post("/api/v1/chat", model="some/model", input="hello", max_output_tokens=1)
        assert loaded(server) == ["some/model"]
        assert "some/nothing" in server.error(path, 404, model="some/nothing")["message"]
        assert "safetensors" in server.error(path, 422, model="some/words")["message"]
        assert server.error(path, 422, model="a/b", quantization="4bit")["param"] == "quantization"
        server.error(path, 404, model="no id")
        assert server.http.get(f"{path}/status/download-0").status_code == 404


def test_a_download_that_fails_says_so(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(model_id: str) -> None:
        raise OSError("no space left on device")

    with (
        hub({"some/model": tiny_model}, tmp_path / "hub", monkeypatch),
        running(None, allow_hub=True) as server,
    ):
        monkeypatch.setattr("engine.models.downloading.from_hub", fails)
        begun = server.post("/api/v1/models/download", model="some/model")
        path = f"/api/v1/models/download/status/{begun['job_id']}"
        told = eventually(lambda: server.get(path), lambda it: it["status"] == "failed")
        assert "some/model could not be downloaded" in told["error"]
        assert "completed_at" not in told
