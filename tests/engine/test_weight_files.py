"""Only the files that a model's index means are read, and nothing that is not a file."""

import json
import os

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from engine.errors import ModelNotFoundError, UnsupportedModelError
from engine.models.loading import load, locate
from tests.engine.folders import tiny_folder

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path):
    """A tiny llama in two shards with an index."""
    folder = tiny_folder(tmp_path / "tiny")
    weights = mx.load(str(folder / "model.safetensors"))
    names = sorted(weights)
    places = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        mx.save_safetensors(str(folder / file), {name: weights[name] for name in part})
        places |= dict.fromkeys(part, file)
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def wrong(folder, *names):
    """Other weights, all of them, in a file of each name."""
    weights = {}
    for file in folder.glob("model*.safetensors"):
        weights |= mx.load(str(file))
    wrong = {name: weight + 1 for name, weight in weights.items()}
    mx.eval(wrong)
    for name in names:
        mx.save_safetensors(str(folder / name), wrong)


def loaded(folder, **options):
    return {
        name: np.array(weight)
        for name, weight in tree_flatten(load(folder, **options).model.parameters())
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, weight in one.items():
        np.testing.assert_array_equal(weight, other[name], err_msg=name)


STRAY = [
    "model-00000-of-00002.safetensors",
    "model-99999-of-99999.safetensors",
    "model.safetensors",
    "model_old.safetensors",
    "consolidated.safetensors",
    "adapters.safetensors",
    "adapter_model.safetensors",
]


@pytest.mark.parametrize("corrections", [True, False])
def test_what_the_index_does_not_name_is_not_read(folder, corrections):
    before = loaded(folder, corrections=corrections)
    wrong(folder, *STRAY)
    assert_same(loaded(folder, corrections=corrections), before)


def test_of_a_tensor_in_two_files_the_index_decides(folder):
    before = loaded(folder)
    places = json.loads((folder / INDEX).read_text())["weight_map"]
    for name, file in places.items():
        other = next(each for each in set(places.values()) if each != file)
        kept = mx.load(str(folder / other))
        kept[name] = mx.zeros_like(mx.load(str(folder / file))[name]) - 7
        mx.eval(kept)
        mx.save_safetensors(str(folder / "new.safetensors"), kept)
        (folder / "new.safetensors").replace(folder / other)
    assert_same(loaded(folder), before)


def test_a_missing_shard_is_named_though_others_are_there(folder):
    wrong(folder, *STRAY)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"model-00002-of-00002\.safetensors is missing"):
        load(folder)


def test_a_tensor_that_its_file_lacks_is_named(folder):
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["model.norm.weight2"] = "model-00001-of-00002.safetensors"
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(UnsupportedModelError, match=r"contains no model\.norm\.weight2"):
        load(folder)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "a/b.safetensors", 5])
def test_an_index_names_files_of_its_folder_alone(folder, name):
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["model.norm.weight"] = name
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(UnsupportedModelError):
        load(folder)


def test_without_an_index_the_one_file_is_read(tmp_path):
    folder = tiny_folder(tmp_path / "tiny")
    (folder / INDEX).unlink(missing_ok=True)
    before = loaded(folder)
    wrong(folder, *(name for name in STRAY if name != "model.safetensors"))
    assert_same(loaded(folder), before)


def test_without_an_index_a_whole_set_of_shards_is_read(folder):
    before = loaded(folder)
    (folder / INDEX).unlink()
    wrong(folder, "model_old.safetensors", "consolidated.safetensors")
    assert_same(loaded(folder), before)
    (folder / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"model-00001-of-00002\.safetensors is missing"):
        locate(folder)


def test_other_names_are_no_weights(tmp_path):
    folder = tiny_folder(tmp_path / "tiny")
    (folder / INDEX).unlink(missing_ok=True)
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors is missing"):
        load(folder)


@pytest.mark.parametrize(
    "name", ["model-00001-of-00002.safetensors", "config.json", "tokenizer.json", "x.jinja"]
)
def test_a_pipe_is_refused_in_place_of_being_waited_for(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(UnsupportedModelError, match=f"{name} is not a regular file"):
        load(folder)


def test_more_layers_than_tensors_are_refused_before_one_is_built(folder, monkeypatch):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 100_000}))
    monkeypatch.setattr(
        "mlx_lm.models.llama.TransformerBlock", lambda *_: pytest.fail("a layer was built")
    )
    with pytest.raises(UnsupportedModelError, match="num_hidden_layers is 100000"):
        load(folder)
