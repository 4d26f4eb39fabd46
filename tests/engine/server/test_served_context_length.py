"""Over HTTP: 422 past a learned table of positions, a warning past what a model was made for."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Server, running
from reference_models import reference_model, save

POSITIONS = 32
LONG, SHORT = [5] * (POSITIONS + 1), [5] * POSITIONS
PAIR = {"corrupted": [6] * (POSITIONS + 1), "answer": 3, "distractor": 4}
BREAKPOINT = [{"layer_name": "0", "component": "residual"}]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("learned") / "gpt2"
    model = reference_model("gpt2", n_positions=POSITIONS, max_position_embeddings=POSITIONS)
    with running(save(model, folder)) as server:
        yield server


@pytest.fixture(scope="module")
def rotary(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("rotary") / "llama"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = POSITIONS
    (folder / "config.json").write_text(json.dumps(config))
    with running(folder) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": SHORT[:-1], "max_tokens": 2}),
        ("/v1/completions", {"prompt": SHORT[:-1], "max_tokens": 2, "stream": True}),
        ("/v1/completions/with_activations", {"prompt": SHORT, "max_tokens": 1}),
        ("/v1/forward", {"prompt": LONG}),
        ("/v1/logit_lens", {"prompt": LONG}),
        ("/v1/embeddings", {"input": LONG}),
        ("/v1/circuits/patch", {"clean": LONG, **PAIR}),
        ("/v1/circuits/patch", {"clean": LONG, **PAIR, "method": "attribution_patching"}),
        (
            "/v1/circuits/verify",
            {"clean": LONG, **PAIR, "circuit": [{"layer": 0, "component": "mlp"}]},
        ),
        ("/v1/sessions", {"prompt": LONG, "breakpoints": BREAKPOINT}),
        (
            "/v1/completions/with_breakpoints",
            {"prompt": SHORT, "max_tokens": 1, "breakpoints": BREAKPOINT},
        ),
    ],
)
def test_a_route_refuses_what_the_table_is_too_short_for(learned: Server, path: str, body: dict):
    error = learned.error(path, 422, **body)
    assert error["type"] == "context_length"
    assert f"learned embeddings of {POSITIONS} positions" in error["message"]


def test_a_table_may_be_filled(learned: Server):
    learned.post("/v1/forward", prompt=SHORT)
    reply = learned.post("/v1/completions", prompt=SHORT[:-2], max_tokens=2)
    assert reply["usage"]["total_tokens"] == POSITIONS
    assert "warnings" not in reply
    assert learned.get("/v1/models/gpt2")["context_length"] == POSITIONS
    assert learned.get("/v1/models/gpt2")["warnings"] == []


def test_a_rotary_model_s_reply_and_entry_warn(rotary: Server):
    entry = rotary.get("/v1/models/llama")
    assert entry["context_length"] == POSITIONS
    assert f"made for {POSITIONS} positions" in entry["warnings"][0]
    for path, body in [
        ("/v1/completions", {"prompt": SHORT, "max_tokens": 1}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * POSITIONS}]}),
        ("/v1/completions/with_activations", {"prompt": SHORT, "max_tokens": 1}),
        ("/v1/forward", {"prompt": LONG}),
        ("/v1/logit_lens", {"prompt": LONG}),
        ("/v1/embeddings", {"input": LONG}),
        ("/v1/circuits/patch", {"clean": LONG, **PAIR, "component": "mlp"}),
        (
            "/v1/circuits/verify",
            {"clean": LONG, **PAIR, "circuit": [{"layer": 0, "component": "mlp"}]},
        ),
    ]:
        (warning,) = rotary.post(path, **body)["warnings"]
        assert "positions were run; the model was made for" in warning, path
    assert "warnings" not in rotary.post("/v1/forward", prompt=SHORT)


def test_the_last_event_of_a_stream_warns(rotary: Server):
    body = {"prompt": SHORT, "max_tokens": 3, "stream": True}
    lines = rotary.http.post("/v1/completions", json=body).text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    warned = [event for event in events if "warnings" in event]
    assert warned == events[-1:]
    assert warned[0]["choices"][0]["finish_reason"]
