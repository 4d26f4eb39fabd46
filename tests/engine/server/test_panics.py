"""A panic in Rust, which is no Exception, costs its own request alone, and that gets a reply."""

import json
import os
import shutil

import pytest

from engine.server.http.openai_format import CompletionReply
from engine.server.jobs.job import Client
from tests.engine.server.conftest import running


class PanicException(BaseException):
    """As pyo3 raises it for a panic."""


def panicking(*args, **kwargs):
    raise PanicException("called `Option::unwrap()` on a `None` value")


def goes_on(server):
    return server.post("/v1/completions", prompt="a", max_tokens=2)["choices"][0]["text"] != ""


def test_while_tokenising(server, monkeypatch):
    model = server.service.models.get(None)
    with monkeypatch.context() as broken:
        broken.setattr(type(model.kit.tokenizer._tokenizer), "encode", panicking)
        for path, body in (
            ("/v1/tokenize", {"text": "a"}),
            ("/v1/completions", {"prompt": "a"}),
            ("/v1/completions", {"prompt": "a", "stream": True}),
            ("/v1/forward", {"prompt": "a"}),
        ):
            error = server.error(path, 500, **body)
            assert "unwrap" not in error["message"]
    assert goes_on(server)


def test_on_the_generation_thread(server):
    def work(job):
        panicking()
        yield

    job = server.service.worker.submit(work, Client())
    with pytest.raises(Exception, match="unwrap"):
        list(job)
    assert goes_on(server)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("stage", ["read_prompt", "result", "passed"])
def test_in_a_generation(server, monkeypatch, stage, streamed):
    with monkeypatch.context() as broken:
        broken.setattr(f"engine.runs.run.Run.{stage}", panicking)
        error = server.error("/v1/completions", 500, prompt="a", stream=streamed)
    assert error["type"] == "internal_error"
    assert goes_on(server)


def test_in_a_stream_that_has_begun(server, monkeypatch):
    chunk = CompletionReply.chunk
    sent = []

    def once(self, *arguments):
        sent.append(arguments)
        return chunk(self, *arguments) if len(sent) < 3 else panicking()

    with monkeypatch.context() as broken:
        broken.setattr(CompletionReply, "chunk", once)
        asked = {"prompt": "a", "max_tokens": 5, "stream": True}
        answer = server.http.post("/v1/completions", json=asked)
    last = answer.text.strip().splitlines()[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "internal_error"
    assert goes_on(server)


def test_while_loading(server, tiny_model, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("engine.models.loading.load_tokenizer", panicking)
        error = server.error(
            "/v1/models/load", 422, model_path=str(tiny_model), model_id="panicking"
        )
    assert error["type"] == "unsupported_model"
    assert "PanicException" in error["message"]
    assert goes_on(server)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pipe_in_a_folder_is_answered(tiny_model, name):
    folder = tiny_model.parent / "pipe"
    shutil.copytree(tiny_model, folder)
    try:
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with running(tiny_model, model_roots=(tiny_model.parent,)) as server:
            error = server.error("/v1/models/load", 422, model_path=str(folder))
            assert f"{name} is not a regular file" in error["message"]
            assert goes_on(server)
    finally:
        shutil.rmtree(folder)


def test_a_template_that_never_ends_is_answered(tiny_model, monkeypatch):
    monkeypatch.setattr("engine.models.template_process.LIMIT", 1.0)
    with running(tiny_model) as server:
        tokenizer = server.service.models.get(None).kit.tokenizer
        loop = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
        with monkeypatch.context() as hostile:
            hostile.setattr(tokenizer._tokenizer, "chat_template", loop)
            messages = [{"role": "user", "content": "a"}]
            answer = server.http.post("/v1/chat/completions", json={"messages": messages})
            assert answer.status_code in (422, 500)
        assert goes_on(server)
        assert server.post("/v1/chat/completions", messages=messages, max_tokens=1)
