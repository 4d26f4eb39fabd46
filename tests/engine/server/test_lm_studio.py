"""LM Studio's REST interfaces: clients written for it read here what they read there."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from tests.engine.server.conftest import Server, running

ASKED = {"temperature": 1.5, "seed": 3, "max_tokens": 6}
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def home(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose model root has one more model than is loaded, as publisher/model."""
    root = tmp_path_factory.mktemp("root")
    for name in ("somebody/tiny", "somebody/other"):
        shutil.copytree(tiny_model, root / name)
    with running(root / "somebody" / "tiny", model_roots=(root,)) as server:
        yield server


def test_version_0_lists_what_is_loaded_and_what_may_be(home: Server) -> None:
    models = {each["id"]: each for each in home.get("/api/v0/models")["data"]}
    assert set(models) == {"tiny", "somebody/other"}
    loaded, other = models["tiny"], models["somebody/other"]
    assert (loaded["state"], other["state"]) == ("loaded", "not-loaded")
    assert loaded["type"] == "llm"
    assert loaded["arch"] == "llama"
    assert loaded["compatibility_type"] == "mlx"
    assert loaded["quantization"] == "F32"
    assert loaded["publisher"] == other["publisher"] == "somebody"
    assert loaded["max_context_length"] == home.service.settings.context_tokens
    assert home.get("/api/v0/models/tiny") == loaded
    assert home.get("/api/v0/models/somebody/other") == other
    refused = home.http.get("/api/v0/models/nothing")
    assert refused.status_code == 404
    assert "loaded: tiny" in refused.json()["error"]["message"]


def test_version_0_completes_as_ours_and_says_how_fast(home: Server) -> None:
    told = home.post("/api/v0/completions", model="tiny", prompt="once", **ASKED)
    ours = home.post("/v1/completions", model="tiny", prompt="once", **ASKED)
    assert told["choices"] == ours["choices"]
    assert told["usage"] == ours["usage"]
    assert set(told["stats"]) == {
        "tokens_per_second",
        "time_to_first_token",
        "generation_time",
        "stop_reason",
    }
    assert told["model_info"] == {
        "arch": "llama",
        "quant": "F32",
        "format": "mlx",
        "context_length": home.service.settings.context_tokens,
    }
    assert told["runtime"]["version"] == mx.__version__


def test_version_0_chats_and_streams(home: Server) -> None:
    whole = home.post("/api/v0/chat/completions", messages=MESSAGES, **ASKED)
    body = {"messages": MESSAGES, "stream": True, **ASKED}
    lines = home.http.post("/api/v0/chat/completions", json=body).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line[:7] == "data: {"]
    text = "".join(each["choices"][0]["delta"]["content"] for each in events)
    assert text == whole["choices"][0]["message"]["content"]
    assert events[-1]["stats"]["stop_reason"] == whole["stats"]["stop_reason"]


def test_the_figures_of_a_reply_fit_together(home: Server) -> None:
    stats = home.post("/v1/completions", prompt="once", **ASKED)["stats"]
    rate = (ASKED["max_tokens"] - 1) / stats["generation_time"]
    assert stats["tokens_per_second"] == pytest.approx(rate)
    assert stats["stop_reason"] == "maxPredictedTokensReached"
    one = home.post("/v1/completions", prompt="once", max_tokens=1)["stats"]
    assert one["tokens_per_second"] == pytest.approx(1 / one["time_to_first_token"])
    scored = home.post("/v1/completions", prompt="once", max_tokens=0, echo=True)["stats"]
    assert (scored["tokens_per_second"], scored["generation_time"]) == (0, 0)


def test_why_a_reply_ended(home: Server) -> None:
    text = home.post("/v1/completions", prompt="once", **ASKED)["choices"][0]["text"]
    stopped = home.post("/v1/completions", prompt="once", stop=text[2:4], **ASKED)
    assert stopped["stats"]["stop_reason"] == "stopStringFound"
    end = home.service.models.get(None).kit.tokenizer.eos_token_id
    ended = home.post("/v1/completions", prompt="once", logit_bias={str(end): 100}, **ASKED)
    assert ended["stats"]["stop_reason"] == "eosFound"


def test_version_1_lists_models_with_their_sizes(home: Server, tiny_model: Path) -> None:
    models = {each["key"]: each for each in home.get("/api/v1/models")["models"]}
    assert set(models) == {"tiny", "somebody/other"}
    loaded = models["tiny"]
    weights = dict(tree_flatten(mx.load(str(tiny_model / "model.safetensors"))))
    numbers = sum(array.size for array in weights.values())
    assert loaded["size_bytes"] == 4 * numbers
    assert loaded["params_string"] == f"{numbers / 1000:.3g}K"
    assert loaded["quantization"] == {"name": "F32", "bits_per_weight": 32.0}
    (instance,) = loaded["loaded_instances"]
    assert instance["id"] == "tiny"
    assert instance["config"]["context_length"] == loaded["max_context_length"]
    assert models["somebody/other"]["loaded_instances"] == []


def test_version_1_chats_and_goes_on_with_what_was_said(home: Server) -> None:
    asked = {"model": "tiny", "max_output_tokens": 5}
    first = home.post("/api/v1/chat", input="hello", system_prompt="be brief", **asked)
    said = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    ours = home.post("/v1/chat/completions", messages=said, max_tokens=5)
    answer = ours["choices"][0]["message"]
    assert first["output"] == [{"type": "message", "content": answer["content"]}]
    assert first["stats"]["input_tokens"] == ours["usage"]["prompt_tokens"]
    assert first["stats"]["total_output_tokens"] == 5
    second = home.post(
        "/api/v1/chat", input="and?", previous_response_id=first["response_id"], **asked
    )
    said += [answer, {"role": "user", "content": "and?"}]
    ours = home.post("/v1/chat/completions", messages=said, max_tokens=5)
    assert second["output"][0]["content"] == ours["choices"][0]["message"]["content"]
    assert second["stats"]["input_tokens"] == ours["usage"]["prompt_tokens"]


@pytest.mark.parametrize("kind", ["text", "message"])
def test_version_1_takes_items_as_input(home: Server, kind: str) -> None:
    items = [{"type": kind, "content": "hello"}]
    one = home.post("/api/v1/chat", model="tiny", input=items, max_output_tokens=4)
    other = home.post("/api/v1/chat", model="tiny", input="hello", max_output_tokens=4)
    assert one["output"] == other["output"]


def test_version_1_streams_named_events(home: Server) -> None:
    asked = {"model": "tiny", "input": "hello", "max_output_tokens": 5}
    whole = home.post("/api/v1/chat", **asked)
    lines = home.http.post("/api/v1/chat", json=asked | {"stream": True}).text.splitlines()
    names = [line[7:] for line in lines if line.startswith("event: ")]
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert names == [event["type"] for event in events]
    assert names[:4] == [
        "chat.start",
        "prompt_processing.start",
        "prompt_processing.end",
        "message.start",
    ]
    assert names[-2:] == ["message.end", "chat.end"]
    pieces = [event["content"] for event in events if event["type"] == "message.delta"]
    assert "".join(pieces) == whole["output"][0]["content"]
    assert events[-1]["result"]["output"] == whole["output"]
    assert events[-1]["result"]["response_id"] != whole["response_id"]


def test_version_1_forgets_what_it_is_told_to(home: Server) -> None:
    asked = {"model": "tiny", "max_output_tokens": 2}
    assert "response_id" not in home.post("/api/v1/chat", input="hello", store=False, **asked)
    refused = home.error("/api/v1/chat", 404, input="x", previous_response_id="resp_no", **asked)
    assert refused["param"] == "previous_response_id"
    refused = home.error("/api/v1/chat", 422, input="hello", context_length=10**6, **asked)
    assert refused["param"] == "context_length"
    assert home.error("/api/v1/chat", 400, input="x", integrations=["a"], **asked)
