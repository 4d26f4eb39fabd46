"""Feature sets of each format encode and decode as their authors' programs do."""

import json
import re
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from engine.components import ComponentType as C
from engine.errors import FeatureSetError
from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.feature_set import FeatureSet
from engine.features.formats import (
    circuit_tracer,
    gemma_scope,
    load_feature_sets,
    sae_lens,
    sparsify,
)
from engine.features.places import Places
from engine.taps.points import Point

SAE_LENS = Path(__file__).with_name("sae_lens")
D, N, K = 6, 16, 3


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape) * 0.5


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


def close(ours: mx.array, theirs: torch.Tensor) -> None:
    np.testing.assert_allclose(np.array(ours), theirs.detach().numpy(), rtol=1e-5, atol=1e-5)


def one(folder: Path, places: Places | None = None) -> FeatureSet:
    (found,) = load_feature_sets(folder, places)
    assert isinstance(found, FeatureSet)
    return found


# --- SAELens -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(each.name for each in SAE_LENS.iterdir()))
def test_sets_that_sae_lens_wrote_compute_what_it_computes(name: str, tmp_path: Path):
    feature_set = one(SAE_LENS / name)
    expected = load_file(SAE_LENS / name / "expected.safetensors")
    x = mx.array(expected["x"].numpy())
    sae_lens.save(feature_set, tmp_path / "again")
    for each in (feature_set, one(tmp_path / "again")):
        features = each.encode(x)
        close(features, expected["features"])
        close(each.decode(features, x), expected["reconstruction"])
    assert feature_set.reads == Point(1, C.RESIDUAL)
    assert feature_set.is_transcoder is ("transcoder" in name)


def _standard() -> dict[str, torch.Tensor]:
    return {"W_enc": random(D, N), "W_dec": random(N, D), "b_enc": random(N), "b_dec": random(D)}


def _write_sae_lens(folder: Path, arrays: dict[str, torch.Tensor], **cfg: object) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(arrays, folder / "sae_weights.safetensors")
    place = {"d_in": D, "d_sae": N, "dtype": "float32", "hook_point": "blocks.0.hook_resid_pre"}
    (folder / "cfg.json").write_text(json.dumps({**place, "hook_point_layer": 0, **cfg}))
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_flat_configuration_from_before_version_6(tmp_path: Path, dtype: torch.dtype):
    arrays = {name: array.to(dtype) for name, array in _standard().items()}
    arrays["scaling_factor"] = torch.ones(N, dtype=dtype)
    feature_set = one(_write_sae_lens(tmp_path / "old", arrays))
    w = {name: array.float() for name, array in arrays.items()}
    x = random(4, D)
    features = torch.relu((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
    close(feature_set.encode(mx.array(x.numpy())), features)
    close(feature_set.decode(mx.array(features.numpy())), features @ w["W_dec"] + w["b_dec"])
    assert feature_set.reads == feature_set.writes == Point(0, C.RESIDUAL, True)


def test_a_flat_configuration_of_top_k(tmp_path: Path):
    arrays = _standard()
    folder = _write_sae_lens(
        tmp_path / "old",
        arrays,
        hook_point="blocks.2.attn.hook_z",
        activation_fn_str="topk",
        activation_fn_kwargs={"k": K},
        normalize_activations=False,
    )
    x = random(4, D)
    pre = (x - arrays["b_dec"]) @ arrays["W_enc"] + arrays["b_enc"]
    values, indices = pre.topk(K)
    close(
        one(folder).encode(mx.array(x.numpy())),
        torch.zeros_like(pre).scatter(-1, indices, values.relu()),
    )
    assert one(folder).reads == Point(2, C.HEAD_OUTPUT)


@pytest.mark.parametrize(
    ("change", "cfg", "says"),
    [
        (lambda w: w.pop("b_enc"), {}, "has no tensor b_enc; it has"),
        (lambda w: w.update(W_dec=random(N, 5)), {}, "W_dec has shape [16, 5], not [16, 6]"),
        (lambda w: w.update(extra=random(2)), {}, "extra is no part of standard"),
        (lambda w: w["W_enc"].fill_(torch.nan), {}, "W_enc has numbers that are not finite"),
        (lambda w: w.update(b_dec=torch.ones(D, dtype=torch.int32)), {}, "not of floating numbers"),
        (lambda w: w.update(scaling_factor=random(N)), {}, "scaling_factor is not 1"),
        (None, {"architecture": "temporal"}, "architecture 'temporal' is none of standard"),
        (None, {"architecture": "topk", "k": N + 1}, "k is 17, not from 1 to 16"),
        (None, {"architecture": "topk", "k": "3"}, "k is '3', not of type int"),
        (None, {"normalize_activations": "covariance_whitening"}, "is none of none, layer_norm"),
        (None, {"finetuning_scaling_factor": True}, "finetuning_scaling_factor True is not"),
        (None, {"activation_fn_str": "tanh-relu"}, "activation_fn 'tanh-relu' is not computed"),
        (None, {"hook_point": "blocks.0.hook_pos"}, "'blocks.0.hook_pos' is no hook point here"),
        (None, {"hook_point_head_index": 3}, "hook_head_index 3 is not computed here"),
    ],
)
def test_what_would_not_be_computed_exactly_is_refused_by_name(tmp_path, change, cfg, says):
    arrays = _standard()
    if change:
        change(arrays)
    folder = _write_sae_lens(tmp_path / "set", arrays, **cfg)
    with pytest.raises(FeatureSetError, match=re.escape(says)):
        load_feature_sets(folder)


def test_files_that_are_not_whole_are_refused(tmp_path: Path):
    folder = _write_sae_lens(tmp_path / "set", _standard())
    weights = folder / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(FeatureSetError, match="cannot be read"):
        load_feature_sets(folder)
    (folder / "cfg.json").write_text("[1]")
    with pytest.raises(FeatureSetError, match="no mapping of names to values"):
        load_feature_sets(folder)
    weights.unlink()
    with pytest.raises(
        FeatureSetError, match="has a feature set in a format of sae_lens, sparsify"
    ):
        load_feature_sets(tmp_path)


# --- sparsify ----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
@pytest.mark.parametrize("transcode", [False, True])
def test_sparsify(tmp_path: Path, activation: str, transcode: bool):
    k = 4
    w = {
        "encoder.weight": random(N, D),
        "encoder.bias": random(N),
        "W_dec": random(N, D),
        "b_dec": random(D),
        "W_skip": random(D, D),
    }
    folder = tmp_path / "layers.1.mlp"
    folder.mkdir()
    save_file(w, folder / "sae.safetensors")
    cfg = {"activation": activation, "k": k, "d_in": D, "num_latents": N, "transcode": transcode}
    (folder / "cfg.json").write_text(json.dumps(cfg | {"skip_connection": True}))

    x = random(5, D)
    into = x if transcode else x - w["b_dec"]
    pre = torch.relu(into @ w["encoder.weight"].T + w["encoder.bias"])
    if activation == "topk":
        values, indices = pre.topk(k, sorted=False)
    else:
        values, indices = pre.unflatten(-1, (k, -1)).max(-1)
        indices = indices + torch.arange(0, N, N // k)
    features = torch.zeros_like(pre).scatter(-1, indices, values)
    output = features @ w["W_dec"] + w["b_dec"] + x @ w["W_skip"].T

    read = one(folder)
    sparsify.save(read, tmp_path / "again" / folder.name)
    for each in (read, one(tmp_path / "again")):
        close(each.encode(mx.array(x.numpy())), features)
        close(each.reconstruct(mx.array(x.numpy())), output)
        assert each.reads == Point(1, C.MLP, transcode)
        assert each.writes == Point(1, C.MLP)


# --- Gemma Scope -------------------------------------------------------------------------------


def test_gemma_scope_of_both_kinds(tmp_path: Path):
    w = {
        "W_enc": random(D, N),
        "W_dec": random(N, D),
        "b_enc": random(N),
        "b_dec": random(D),
        "threshold": random(N).abs(),
    }
    w["threshold"][3] = -5  # keeps what is negative, unlike SAELens
    skip = random(D, D)
    x = random(5, D) * 3
    pre = x @ w["W_enc"] + w["b_enc"]
    features = pre * (pre > w["threshold"])
    assert (features < 0).any()
    output = features @ w["W_dec"] + w["b_dec"]

    first = tmp_path / "gemma-scope-2b-pt-res" / "layer_1" / "width_16" / "average_l0_3"
    first.mkdir(parents=True)
    np.savez(first / "params.npz", **{name: each.numpy() for name, each in w.items()})
    read = one(first)
    close(read.encode(mx.array(x.numpy())), features)
    close(read.reconstruct(mx.array(x.numpy())), output)
    assert (read.reads, read.writes) == (Point(1, C.RESIDUAL), Point(1, C.RESIDUAL))

    second = tmp_path / "transcoder" / "layer_0_width_16_l0_big_affine"
    second.mkdir(parents=True)
    lower = {name.replace("W_", "w_"): each for name, each in w.items()}
    save_file(lower | {"affine_skip_connection": skip}, second / "params.safetensors")
    cfg = {
        "architecture": "jump_relu",
        "hf_hook_point_in": "model.layers.0.pre_feedforward_layernorm.output",
        "hf_hook_point_out": "model.layers.0.post_feedforward_layernorm.output",
    }
    (second / "config.json").write_text(json.dumps(cfg))
    read = one(second)
    gemma_scope.save_second(read, tmp_path / "again")
    for each in (read, one(tmp_path / "again")):
        close(each.reconstruct(mx.array(x.numpy())), output + x @ skip)
        assert (each.reads, each.writes) == (Point(0, C.MLP, True), Point(0, C.MLP))


def test_gemma_scope_says_what_its_path_leaves_open(tmp_path: Path):
    np.savez(tmp_path / "params.npz", W_enc=np.ones((D, N)))
    with pytest.raises(FeatureSetError, match="give hook_name"):
        load_feature_sets(tmp_path)
    with pytest.raises(FeatureSetError, match="has no tensor W_dec"):
        load_feature_sets(tmp_path, Places.of_hooks("blocks.1.hook_mlp_out"))


def test_the_first_transcoders_of_gemma_scope_read_before_the_norms_weight(tmp_path: Path):
    places = Places.of_hooks("blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out")
    assert places == Places(Point(1, C.MLP, True), Point(1, C.MLP), True)


# --- circuit-tracer ----------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "jump_relu", "topk"])
def test_circuit_tracer_with_a_file_a_layer(tmp_path: Path, activation: str):
    layers = []
    for layer in range(2):
        w = {"W_enc": random(N, D), "W_dec": random(N, D), "b_enc": random(N), "b_dec": random(D)}
        w["W_skip"] = random(D, D)
        if activation == "jump_relu":
            w["activation_function.threshold"] = random(N)
        save_file(w, tmp_path / f"layer_{layer}.safetensors")
        layers.append(w)
    cfg = {
        "model_kind": "transcoder_set",
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "hook_mlp_out",
    }
    if activation == "topk":
        cfg |= {"activation": "topk", "k": K}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(cfg))
    x = random(5, D)
    sets = load_feature_sets(tmp_path)
    circuit_tracer.save(sets, tmp_path / "again")
    again = circuit_tracer.load(tmp_path / "again")
    for layer, w in enumerate(layers):
        pre = x @ w["W_enc"].T + w["b_enc"]
        if activation == "relu":
            features = torch.relu(pre)
        elif activation == "jump_relu":
            features = pre * (pre > w["activation_function.threshold"])
        else:
            gate = torch.zeros_like(pre).scatter(-1, pre.topk(K).indices, 1)
            features = pre * gate
        output = features @ w["W_dec"] + w["b_dec"] + x @ w["W_skip"].T
        for each in (sets[layer], again[layer]):
            assert isinstance(each, FeatureSet)
            close(each.encode(mx.array(x.numpy())), features)
            close(each.reconstruct(mx.array(x.numpy())), output)
            assert (each.reads, each.writes) == (Point(layer, C.MLP, True), Point(layer, C.MLP))


@pytest.mark.parametrize("has_threshold", [False, True])
def test_circuit_tracer_across_layers(tmp_path: Path, has_threshold: bool):
    layers = 3
    w = {}
    for n in range(layers):
        encoder = {f"W_enc_{n}": random(N, D), f"b_enc_{n}": random(N), f"b_dec_{n}": random(D)}
        if has_threshold:
            encoder[f"threshold_{n}"] = random(N).abs()
        decoder = {f"W_dec_{n}": random(N, layers - n, D)}
        save_file(encoder, tmp_path / f"W_enc_{n}.safetensors")
        save_file(decoder, tmp_path / f"W_dec_{n}.safetensors")
        w |= encoder | decoder
    cfg = {
        "model_kind": "cross_layer_transcoder",
        "feature_input_hook": "hook_resid_mid",
        "feature_output_hook": "hook_mlp_out",
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(cfg))
    x = random(layers, 5, D)
    features, outputs = [], []
    for n in range(layers):
        pre = x[n] @ w[f"W_enc_{n}"].T + w[f"b_enc_{n}"]
        features.append(pre * (pre > w.get(f"threshold_{n}", torch.zeros(N))))
        outputs.append(w[f"b_dec_{n}"].expand(5, D))
        for source in range(n + 1):
            outputs[n] = outputs[n] + features[source] @ w[f"W_dec_{source}"][:, n - source]
    (read,) = load_feature_sets(tmp_path)
    assert isinstance(read, CrossLayerTranscoder)
    circuit_tracer.save(read, tmp_path / "again")
    (again,) = circuit_tracer.load(tmp_path / "again")
    ours = mx.array(x.numpy())
    for each in (read, again):
        assert isinstance(each, CrossLayerTranscoder)
        close(each.encode(ours), torch.stack(features))
        close(each.decode(each.encode(ours), ours), torch.stack(outputs))
        close(each.error(ours, ours), x - torch.stack(outputs))
        assert each.reads[2] == Point(2, C.RESIDUAL_MID)
        assert each.writes[2] == Point(2, C.MLP)


def test_circuit_tracer_reads_no_file_outside_of_its_folder(tmp_path: Path):
    inside = tmp_path / "inside"
    inside.mkdir()
    save_file({"W_enc": random(N, D)}, tmp_path / "other.safetensors")
    cfg = {"model_kind": "transcoder_set", "transcoders": ["../other.safetensors"]}
    (inside / "config.yaml").write_text(yaml.safe_dump(cfg))
    with pytest.raises(FeatureSetError, match="outside of its folder"):
        load_feature_sets(inside)


# --- folders -----------------------------------------------------------------------------------


def test_a_folder_of_many_layers_is_read_in_their_order(tmp_path: Path):
    for layer in (10, 2):
        _write_sae_lens(
            tmp_path / f"layer_{layer}", _standard(), hook_point=f"blocks.{layer}.hook_mlp_out"
        )
    sets = load_feature_sets(tmp_path)
    assert [each.reads.layer for each in sets if isinstance(each, FeatureSet)] == [2, 10]
    with pytest.raises(FeatureSetError, match="hook_name is for one"):
        load_feature_sets(tmp_path, Places.of_hooks("blocks.1.hook_mlp_out"))
