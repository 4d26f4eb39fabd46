"""What clients may load: adapters too, from allowed folders alone, and only so many."""

import json
import shutil
import subprocess
import sys

import httpx
import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.engine.server.conftest import HEAD_DIM, HEADS, HIDDEN, running
from tests.engine.server.test_process import serving

MODULE = "model.layers.1.self_attn.q_proj"
FORWARD = {"prompt": "hello", "logits": "last", "activation_format": "array"}


@pytest.fixture
def adapter(tiny_model):
    """An adapter of PEFT's for the tiny model, beside it."""
    folder = tiny_model.parent / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    generator = np.random.default_rng(0)
    tensors = {
        f"base_model.model.{MODULE}.lora_{factor}.weight": generator.standard_normal(shape).astype(
            np.float32
        )
        for factor, shape in (("A", (2, HIDDEN)), ("B", (HEADS * HEAD_DIM, 2)))
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def merged(tiny_model, adapter):
    """The tiny model with the adapter merged by hand."""
    folder = tiny_model.parent / "merged"
    shutil.copytree(tiny_model, folder)
    weights = mx.load(str(folder / "model.safetensors"))
    a, b = (
        mx.load(str(adapter / "adapter_model.safetensors"))[
            f"base_model.model.{MODULE}.lora_{factor}.weight"
        ]
        for factor in "AB"
    )
    weights[f"{MODULE}.weight"] = weights[f"{MODULE}.weight"] + 3 * (b @ a)
    mx.eval(weights)
    mx.save_safetensors(str(folder / "new.safetensors"), weights)
    (folder / "new.safetensors").replace(folder / "model.safetensors")
    yield folder
    shutil.rmtree(folder)


def logits(server, model):
    return np.float32(server.post("/v1/forward", model=model, **FORWARD)["logits"]["data"])


def test_a_client_loads_an_adapter_and_the_entry_shows_it(server, tiny_model, adapter, merged):
    wanted = {"model_path": str(tiny_model), "model_id": "tuned", "adapter_path": str(adapter)}
    try:
        entry = server.post("/v1/models/load", **wanted)
        server.post("/v1/models/load", model_path=str(merged))
        assert entry["adapter"] == {
            "name": "adapter",
            "format": "peft",
            "kind": "lora",
            "modules": [MODULE],
            "rank": 2,
            "scale": 3.0,
        }
        assert server.get("/v1/models/tuned")["adapter"] == entry["adapter"]
        assert server.get("/v1/models/tiny")["adapter"] is None
        np.testing.assert_allclose(logits(server, "tuned"), logits(server, "merged"), atol=1e-5)
        assert np.abs(logits(server, "tuned") - logits(server, "tiny")).max() > 0.01
    finally:
        for model in ("tuned", "merged"):
            server.http.post("/v1/models/unload", json={"model": model})


def test_an_adapter_outside_the_allowed_folders_is_refused(server, tiny_model, tmp_path):
    error = server.error(
        "/v1/models/load", 403, model_path=str(tiny_model), adapter_path=str(tmp_path)
    )
    assert error["param"] == "adapter_path"


def test_serve_loads_an_adapter(tiny_model, adapter):
    with serving(tiny_model, "--adapter", str(adapter)) as (_, url):
        assert httpx.get(f"{url}/v1/models/tiny").json()["adapter"]["name"] == "adapter"


def test_inspect_shows_an_adapter(tiny_model, adapter):
    command = [sys.executable, "-m", "bridge", "models", "inspect", str(tiny_model)]
    said = subprocess.run(
        [*command, "--adapter", str(adapter)], capture_output=True, text=True, check=True
    )
    assert "adapter adapter: lora of 1 modules, merged" in said.stdout


def test_a_hub_id_never_means_a_folder_where_the_server_was_started(
    tiny_model, tmp_path, monkeypatch
):
    local = tmp_path / "some" / "tiny"
    shutil.copytree(tiny_model, local)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with running(tiny_model, model_roots=(tiny_model.parent,), allow_hub=True) as server:
        for asked in ({"model_path": "some/tiny"}, {"adapter_path": "some/tiny"}):
            body = {"model_path": str(tiny_model), "model_id": "x"} | asked
            error = server.error("/v1/models/load", 404, **body)
            assert "the hub does not have it" in error["message"]
        assert [entry["id"] for entry in server.get("/v1/models")["data"]] == ["tiny"]


def test_a_hub_model_that_is_here_loads_by_its_id(tiny_model, tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "models--some--model"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(tiny_model, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with running(None, allow_hub=True) as server:
        assert server.post("/v1/models/load", model_path="some/model")["id"] == "model"


def test_only_so_many_models_are_loaded(tiny_model):
    with running(tiny_model, model_roots=(tiny_model.parent,), max_models=2) as server:
        path = str(tiny_model)
        server.post("/v1/models/load", model_path=path, model_id="second")
        error = server.error("/v1/models/load", 422, model_path=path, model_id="third")
        assert error["type"] == "over_limit"
        assert "tiny, second" in error["message"]
        assert server.post("/v1/models/load", model_path=path)["id"] == "tiny"
        server.post("/v1/models/unload", model="second")
        server.post("/v1/models/load", model_path=path, model_id="third")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--port", ["99999", "65536", "-1", "1.5", "http"]),
        ("--queue-size", ["0", "-3"]),
        ("--capture-budget", ["0", "-1", "1e3"]),
        ("--max-kv-size", ["7", "-8", str(2**31)]),
        ("--max-models", ["0"]),
        ("--prefix-cache", ["-1", "x"]),
    ],
)
def test_a_number_out_of_its_range_is_refused_with_the_range(option, values):
    from click.testing import CliRunner

    from bridge.cli.serve import serve

    for value in values:
        result = CliRunner().invoke(serve, [option, value])
        assert result.exit_code == 2, result.output
        assert f"Invalid value for '{option}'" in result.output
        assert value in result.output
