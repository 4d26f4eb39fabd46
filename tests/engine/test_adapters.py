"""A model with an adapter computes what it does with the weights that numpy merges by hand."""

import json
import math
import os

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from safetensors.numpy import load_file, save_file

from engine.errors import ModelNotFoundError, UnsupportedModelError
from engine.models.adapter_folders import open_adapter
from engine.models.loading import load
from engine.runs.kit import load_model
from tests.engine.folders import tiny_folder

TOKENS = mx.array([[3, 14, 15, 92, 65]])
RANK, SCALE = 3, 2.5
KEYS = ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"]
MODULES = [f"model.layers.{layer}.{key}" for layer in range(2) for key in KEYS]


def rng():
    return np.random.default_rng(5)


def factors(shape, generator):
    """LoRA's A, rank by inputs, and B, outputs by rank, for a weight of outputs by inputs."""
    a = generator.standard_normal((RANK, shape[1])).astype(np.float32)
    b = generator.standard_normal((shape[0], RANK)).astype(np.float32)
    return a, b * 0.1


def as_dora(weight, length):
    return length[:, None] * weight / np.linalg.norm(weight, axis=1, keepdims=True)


def stored(folder):
    return load_file(folder / "model.safetensors")


def merged_folder(folder, weights, name="merged"):
    """The same folder with other weights."""
    other = folder.parent / name
    other.mkdir()
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (other / file).write_bytes((folder / file).read_bytes())
    save_file(weights, other / "model.safetensors")
    return other


def logits(path, **options):
    return np.array(load_model(path, dtype="float32", **options).model(TOKENS))


def assert_merged(folder, adapter, weights):
    """The adapter changes the logits, to what they are with these weights."""
    expected = logits(merged_folder(folder, weights))
    assert np.abs(expected - logits(folder)).max() > 0.05
    np.testing.assert_allclose(logits(folder, adapter_path=adapter), expected, rtol=1e-4, atol=1e-4)


def mlx_adapter(path, kind, tensors, keys=KEYS, layers=-1):
    path.mkdir()
    parameters = {"rank": RANK, "scale": SCALE, "dropout": 0.0, "keys": keys}
    config = {"fine_tune_type": kind, "num_layers": layers, "lora_parameters": parameters}
    (path / "adapter_config.json").write_text(json.dumps(config))
    save_file(
        {n: np.ascontiguousarray(t) for n, t in tensors.items()}, path / "adapters.safetensors"
    )
    return path


def mlx_lora(folder, kind):
    """An adapter of mlx-lm's for a folder, and the weights that it stands for."""
    weights, tensors, generator = stored(folder), {}, rng()
    for module in MODULES:
        weight = weights[f"{module}.weight"]
        a, b = factors(weight.shape, generator)
        tensors |= {f"{module}.lora_a": a.T, f"{module}.lora_b": b.T}
        weight = weight + SCALE * (b @ a)
        if kind == "dora":
            length = generator.uniform(0.5, 2, len(weight)).astype(np.float32)
            tensors[f"{module}.m"] = length
            weight = as_dora(weight, length)
        weights[f"{module}.weight"] = weight
    return mlx_adapter(folder.parent / "mine", kind, tensors), weights


@pytest.fixture
def folder(tmp_path):
    return tiny_folder(tmp_path / "tiny")


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_of_mlx_lm_is_merged(folder, kind):
    adapter, weights = mlx_lora(folder, kind)
    assert_merged(folder, adapter, weights)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_it_is_merged_without_corrections_too(folder, kind):
    adapter, weights = mlx_lora(folder, kind)
    one = logits(folder, adapter_path=adapter, corrections=False)
    np.testing.assert_allclose(one, logits(merged_folder(folder, weights)), rtol=1e-4, atol=1e-4)


def test_whole_weights_are_replaced(folder):
    weights = stored(folder)
    changed = {f"{m}.weight": weights[f"{m}.weight"] * 1.5 + 0.1 for m in MODULES[:2]}
    adapter = mlx_adapter(folder.parent / "mine", "full", changed)
    assert_merged(folder, adapter, weights | changed)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_embedding_that_is_also_the_head_is_merged_in_both(folder, kind):
    weights, generator = stored(folder), rng()
    weight = weights["model.embed_tokens.weight"]
    a = generator.standard_normal((len(weight), RANK)).astype(np.float32)
    b = generator.standard_normal((RANK, weight.shape[1])).astype(np.float32) * 0.1
    tensors = {"model.embed_tokens.lora_a": a, "model.embed_tokens.lora_b": b}
    weight = weight + SCALE * (a @ b)
    if kind == "dora":
        tensors["model.embed_tokens.m"] = generator.uniform(0.5, 2, len(weight)).astype(np.float32)
        weight = as_dora(weight, tensors["model.embed_tokens.m"])
    adapter = mlx_adapter(folder.parent / "mine", kind, tensors, ["model.embed_tokens"])
    assert_merged(folder, adapter, weights | {"model.embed_tokens.weight": weight})


def test_it_runs_as_mlx_lm_runs_it_without_merging(folder):
    from mlx_lm.tuner.utils import load_adapters

    adapter, _ = mlx_lora(folder, "dora")
    unmerged = load_adapters(load(folder, dtype="float32").model, str(adapter))
    unmerged.eval()
    np.testing.assert_allclose(
        logits(folder, adapter_path=adapter), np.array(unmerged(TOKENS)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("form", ["mlx-lm", "peft"])
def test_quantised_layers_are_dequantised_and_then_merged_exactly(tmp_path, form):
    folder = tiny_folder(tmp_path / "tiny", bits=4)
    dense = {
        name: np.array(w)
        for name, w in tree_flatten(load(folder, dtype="float32").model.parameters())
    }
    plain = tiny_folder(tmp_path / "plain")
    plain = merged_folder(plain, dense, "dense")
    adapter, weights = mlx_lora(plain, "lora") if form == "mlx-lm" else peft_lora(plain)
    expected = logits(merged_folder(plain, weights))
    assert np.abs(expected - logits(folder)).max() > 0.05
    with mx.stream(mx.cpu):
        np.testing.assert_allclose(
            logits(folder, adapter_path=adapter), expected, rtol=1e-4, atol=1e-4
        )


def test_a_model_keeps_its_type(tmp_path):
    folder = tiny_folder(tmp_path / "tiny")
    adapter, weights = mlx_lora(folder, "lora")
    half = {name: weight.astype(np.float16) for name, weight in stored(folder).items()}
    half_folder = merged_folder(folder, half, "half")
    model = load_model(half_folder, adapter_path=adapter).model
    for name, weight in tree_flatten(model.parameters()):
        assert weight.dtype == mx.float16
        np.testing.assert_allclose(np.array(weight), weights[name], rtol=2e-3, atol=2e-3)


def peft_adapter(path, tensors, **config):
    path.mkdir()
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": SCALE * RANK} | config
    (path / "adapter_config.json").write_text(json.dumps(config))
    tensors = {f"base_model.model.{n}": np.ascontiguousarray(t) for n, t in tensors.items()}
    save_file(tensors, path / "adapter_model.safetensors")
    return path


def peft_lora(folder, scales=None, dora=False, **config):
    weights, tensors, generator = stored(folder), {}, rng()
    for module in MODULES:
        weight = weights[f"{module}.weight"]
        a, b = factors(weight.shape, generator)
        tensors |= {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
        weight = weight + (scales or {}).get(module, SCALE) * (b @ a)
        if dora:
            length = generator.uniform(0.5, 2, len(weight)).astype(np.float32)
            tensors[f"{module}.lora_magnitude_vector"] = length
            weight = as_dora(weight, length)
        weights[f"{module}.weight"] = weight
    return peft_adapter(folder.parent / "theirs", tensors, **config), weights


def test_an_adapter_of_peft_is_merged(folder):
    assert_merged(folder, *peft_lora(folder))


def test_an_adapter_of_peft_with_dora_is_merged(folder):
    assert_merged(folder, *peft_lora(folder, dora=True, use_dora=True))


def test_pefts_ways_of_scaling_are_known(folder):
    scales = {module: 9 / math.sqrt(RANK) for module in MODULES}
    scales[MODULES[0]] = 4 / math.sqrt(RANK)
    patterns = {"model.layers.0.self_attn.q_proj": 4}
    adapter, weights = peft_lora(
        folder, scales, lora_alpha=9, use_rslora=True, alpha_pattern=patterns
    )
    assert_merged(folder, adapter, weights)
    assert open_adapter(adapter).scale is None


def test_a_module_that_peft_saved_whole_is_replaced(folder):
    adapter, weights = peft_lora(folder)
    tensors = load_file(adapter / "adapter_model.safetensors")
    norm = np.linspace(0.2, 3, 64, dtype=np.float32)
    save_file(
        tensors | {"base_model.model.model.norm.weight": norm},
        adapter / "adapter_model.safetensors",
    )
    assert_merged(folder, adapter, weights | {"model.norm.weight": norm})


def test_gpt2s_transposed_weights_are_merged_the_right_way_round(tmp_path):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=256, n_positions=64)
    reference = GPT2LMHeadModel(config).eval()
    folder = tiny_folder(tmp_path / "gpt2")
    for file in folder.glob("*safetensors*"):
        file.unlink()
    reference.save_pretrained(folder)
    generator, tensors = rng(), {}
    for module in ("h.0.attn.c_attn", "h.1.attn.c_proj"):
        layer = reference.get_submodule(f"transformer.{module}")
        a, b = factors(layer.weight.T.shape, generator)
        name = f"transformer.{module}"
        tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
        layer.weight.data += SCALE * torch.tensor(b @ a).T
    adapter = peft_adapter(tmp_path / "theirs", tensors, fan_in_fan_out=True)
    expected = reference(torch.tensor(np.array(TOKENS).astype(np.int64))).logits.detach().numpy()
    np.testing.assert_allclose(logits(folder, adapter_path=adapter), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"use_dora": True}, "lora_magnitude_vector"),
    ],
)
def test_what_cannot_be_merged_as_peft_runs_it_is_refused(folder, config, said):
    adapter, _ = peft_lora(folder, **config)
    with pytest.raises(UnsupportedModelError, match=said):
        load_model(folder, adapter_path=adapter)


@pytest.mark.parametrize("form", ["mlx-lm", "peft"])
def test_an_adapter_of_another_model_is_refused(folder, tmp_path, form):
    adapter, _ = mlx_lora(folder, "lora") if form == "mlx-lm" else peft_lora(folder)
    narrow = tiny_folder(tmp_path / "narrow", hidden_size=32)
    with pytest.raises(UnsupportedModelError, match="does not fit the model"):
        load_model(narrow, adapter_path=adapter)


def test_half_an_adapter_is_refused(folder):
    adapter, _ = mlx_lora(folder, "lora")
    tensors = load_file(adapter / "adapters.safetensors")
    del tensors[f"{MODULES[0]}.lora_b"]
    save_file(tensors, adapter / "adapters.safetensors")
    with pytest.raises(UnsupportedModelError, match=rf"{MODULES[0]}\.lora_b is missing"):
        load_model(folder, adapter_path=adapter)


def test_one_weight_for_embedding_and_logits_is_not_guessed_at(folder):
    tensors = {
        "model.embed_tokens.lora_embedding_A": np.ones((RANK, 256), np.float32),
        "model.embed_tokens.lora_embedding_B": np.ones((64, RANK), np.float32),
    }
    adapter = peft_adapter(folder.parent / "theirs", tensors)
    with pytest.raises(UnsupportedModelError, match="one weight for its embedding and its logits"):
        load_model(folder, adapter_path=adapter)


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapters.safetensors"])
def test_what_an_adapter_lacks_is_named(folder, missing):
    adapter, _ = mlx_lora(folder, "lora")
    (adapter / missing).unlink()
    with pytest.raises(ModelNotFoundError, match=f"{missing} is missing"):
        load_model(folder, adapter_path=adapter)


def test_an_adapter_loaded_as_a_model_is_said_to_be_one(folder):
    adapter, _ = peft_lora(folder)
    with pytest.raises(ModelNotFoundError, match="is an adapter, not a model"):
        load_model(adapter)


def test_a_pipe_in_an_adapters_folder_is_refused(folder):
    adapter, _ = peft_lora(folder)
    (adapter / "adapter_model.safetensors").unlink()
    os.mkfifo(adapter / "adapter_model.safetensors")
    with pytest.raises(UnsupportedModelError, match="not a regular file"):
        load_model(folder, adapter_path=adapter)
