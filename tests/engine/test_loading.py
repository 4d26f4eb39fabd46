"""A model is loaded whole and as asked for, or the error says what is missing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folders
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.utils import load_model, quantize_model, save_model

from engine.errors import InvalidRequestError, ModelNotFoundError, UnsupportedModelError
from engine.models.loading import load, locate
from engine.models.stored import stored_models

CONFIG = folders.CONFIG | {"vocab_size": 128}
TOKENS = mx.array([[3, 14, 15, 92, 65]])
EVERY_TOKENIZER_FILE = "tokenizer.json or tokenizer.model or tokenizer_config.json or vocab.json"

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path, smollm2_path: Path) -> MakeFolder:
    """`make_folder(bits=4, **config)`: a tiny llama, with SmolLM2's tokenizer."""

    def make(bits: int | None = None, **changed: Any) -> Path:
        folder = tmp_path / "tiny"
        folder.mkdir()
        model, config = Model(ModelArgs.from_dict(CONFIG)), dict(CONFIG)
        if bits:
            model, config = quantize_model(model, config, group_size=32, bits=bits)
        save_model(folder, model)
        (folder / "config.json").write_text(json.dumps(config | changed))
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(smollm2_path / name, folder)
        return folder

    return make


def dtypes(model: nn.Module) -> set[mx.Dtype]:
    return {weight.dtype for _, weight in tree_flatten(model.parameters())}


def test_smollm2_before_it_is_pulled_says_how_to_pull_it(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROSCOPE_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="'neuroscope-bridge models pull smollm2'"):
        load("smollm2")


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "/no/where/at all", "", "a/b/c", "a/.."])
def test_what_is_neither_a_name_nor_a_folder_nor_an_id_is_not_found(name):
    with pytest.raises(ModelNotFoundError):
        load(name)


def test_an_id_that_the_hub_does_not_answer_is_not_found(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="no folder 'nobody/nothing' here, and the hub"):
        load("nobody/nothing")


def test_a_hub_model_that_is_here_loads_by_its_id_and_is_listed(make_folder, monkeypatch, tmp_path):
    repository = tmp_path / "hub" / "models--some--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    make_folder().rename(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setenv("NEUROSCOPE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert locate("some/tiny") == snapshot
    assert [(model.name, model.folder) for model in stored_models()] == [("some/tiny", snapshot)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "model.safetensors"),
        ("tokenizer*", EVERY_TOKENIZER_FILE),
    ],
)
def test_a_missing_file_is_named(make_folder, name, said):
    folder = make_folder()
    (folder / "model.safetensors.index.json").unlink()
    for path in folder.glob(name):
        path.unlink()
    with pytest.raises(ModelNotFoundError) as refusal:
        load(folder)
    assert str(refusal.value) == f"{folder} is not a whole model: {said} is missing"


def test_a_missing_shard_is_named(make_folder):
    folder = make_folder()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors is missing"):
        load(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").write_text("{"), "JSONDecodeError"),
        (lambda folder: (folder / "config.json").write_text("{}"), "KeyError: 'model_type'"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"half"), "RuntimeError"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer.json"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("["), "JSON"),
    ],
    ids=["config", "no model type", "weights", "tokenizer", "index"],
)
def test_a_spoilt_file_is_an_error_that_says_so(make_folder, spoil, said):
    folder = make_folder()
    spoil(folder)
    with pytest.raises(UnsupportedModelError, match=f"tiny cannot be loaded: .*{said}"):
        load(folder)


def test_weights_cut_short_are_an_error(make_folder):
    folder = make_folder()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4096])
    with pytest.raises(UnsupportedModelError, match="tiny cannot be loaded"):
        load(folder)


def test_an_unknown_architecture_is_named(make_folder):
    with pytest.raises(UnsupportedModelError, match="Model type martian not supported"):
        load(make_folder(model_type="martian"))


def test_code_in_a_model_folder_is_refused_and_never_runs(make_folder):
    folder = make_folder(model_file="custom.py")
    (folder / "custom.py").write_text("from pathlib import Path; Path(__file__ + '.ran').touch()")
    with pytest.raises(UnsupportedModelError, match=r"custom\.py"):
        load(folder)
    assert not (folder / "custom.py.ran").exists()


def test_code_of_a_tokenizer_is_never_run(make_folder):
    folder = make_folder()
    (folder / "custom.py").write_text("from pathlib import Path; Path(__file__ + '.ran').touch()")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config |= {"auto_map": {"AutoTokenizer": [None, "custom.Tokenizer"]}}
    path.write_text(json.dumps(config | {"tokenizer_class": "Tokenizer"}))
    with pytest.raises(UnsupportedModelError):
        load(folder)
    assert not (folder / "custom.py.ran").exists()


def test_another_dtype_is_refused_with_those_that_exist(make_folder):
    with pytest.raises(InvalidRequestError, match="'int4', not one of float32, float16, bfloat16"):
        load(make_folder(), dtype="int4")


def test_unquantised_weights_stay_as_they_are_stored(make_folder):
    folder = make_folder()
    stored = mx.load(str(folder / "model.safetensors"))
    model, _, config, answered, _ = load(folder)
    assert answered == folder
    assert config["hidden_size"] == 64
    for name, weight in tree_flatten(model.parameters()):
        assert mx.array_equal(weight, stored[name])
        assert weight.dtype == stored[name].dtype


def test_a_cpu_gets_quantised_weights_in_float32_and_the_same_logits(make_folder):
    folder = make_folder(bits=4)
    quantised, _ = load_model(folder)
    with mx.stream(mx.cpu):
        model, _, config, *_ = load(folder)
        np.testing.assert_allclose(
            np.array(model(TOKENS)), np.array(quantised(TOKENS)), rtol=0, atol=1e-5
        )
    assert dtypes(model) == {mx.float32}
    assert not any(isinstance(m, nn.QuantizedLinear) for _, m in model.named_modules())
    assert "quantization" not in config


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_chosen_dtype_is_that_of_every_weight(make_folder, dtype):
    model, _, config, *_ = load(make_folder(bits=8), dtype=dtype)
    assert dtypes(model) == {getattr(mx, dtype)}
    assert "quantization" not in config


def test_a_relative_and_a_symbolic_path_mean_the_folder(make_folder, monkeypatch, tmp_path):
    folder = make_folder()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    assert locate("tiny") == locate("./tiny") == locate("link") == locate(folder) == folder
