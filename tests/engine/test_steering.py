"""Steering vectors: found as others find them, written as others read them, acting as edited
weights do."""

import json
from pathlib import Path

import gguf
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from safetensors import safe_open

from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, UnknownPositionError
from engine.runs.forward import forward
from engine.runs.kit import ModelKit
from engine.steering.acting import Steering
from engine.steering.contrast import contrast_vector
from engine.steering.control_vector import from_gguf, to_gguf
from engine.steering.files import from_file, to_safetensors
from engine.steering.vector import SteeringVector
from engine.structure.resolver import resolve
from tests.engine.test_interventions import Letters, kit_of

RNG = np.random.default_rng(7)
PAIRS = [
    (list(map(int, RNG.integers(1, 60, n))), list(map(int, RNG.integers(1, 60, n + 1))))
    for n in (4, 5, 6, 7, 5)
]
TOKENS = [3, 31, 4, 15, 9, 26, 5]
HIDDEN = 32


@pytest.fixture(scope="module")
def kit() -> ModelKit:
    return kit_of("llama", layer_types=["full_attention"] * 2)


def streams(kit: ModelKit, tokens: list[int], layer: int) -> np.ndarray:
    """The residual stream after a layer, ``[seq, hidden]``, calculated by mlx-lm alone."""
    inner = kit.model.model
    value = inner.embed_tokens(mx.array([tokens]))
    mask = "causal"
    for block in inner.layers[: layer + 1]:
        value = block(value, mask, None)
    return np.array(value[0]).astype(np.float64)


def differences(kit: ModelKit, layer: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(
        np.stack([streams(kit, pair[side], layer)[-1] for pair in PAIRS]) for side in (0, 1)
    )


def test_the_mean_difference_is_that_of_the_last_tokens(kit):
    vector = contrast_vector(kit, PAIRS)
    assert vector.layers == [0, 1]
    for layer in vector.layers:
        first, second = differences(kit, layer)
        expected = (first - second).mean(0)
        np.testing.assert_allclose(vector.directions[layer], expected, atol=1e-5)
        assert vector.norm(layer) == pytest.approx(np.linalg.norm(expected), rel=1e-5)


def test_the_mean_of_all_tokens_and_any_token_can_be_compared(kit):
    means = contrast_vector(kit, PAIRS, layers=[1], position="mean").directions[1]
    both = [[streams(kit, pair[side], 1) for pair in PAIRS] for side in (0, 1)]
    expected = np.mean([a.mean(0) - b.mean(0) for a, b in zip(*both, strict=True)], axis=0)
    np.testing.assert_allclose(means, expected, atol=1e-5)
    second = contrast_vector(kit, PAIRS, layers=[1], position=2).directions[1]
    expected = np.mean([a[2] - b[2] for a, b in zip(*both, strict=True)], axis=0)
    np.testing.assert_allclose(second, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["pca", "pca_center"])
def test_a_principal_component_points_to_where_more_of_the_first_are(kit, method):
    found = contrast_vector(kit, PAIRS, method=method).directions
    for layer, direction in found.items():
        first, second = differences(kit, layer)
        if method == "pca":
            covariance = np.cov((first - second).T)
        else:
            middle = (first + second) / 2
            covariance = np.cov(np.concatenate([first - middle, second - middle]).T)
        _, vectors = np.linalg.eigh(covariance)
        assert abs(direction @ vectors[:, -1]) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-6)
        assert (first @ direction > second @ direction).sum() * 2 > len(PAIRS)


@pytest.mark.parametrize(
    ("pairs", "options", "error"),
    [
        ([], {}, "at least 1"),
        (PAIRS[:1], {"method": "pca"}, "at least 2"),
        ([(TOKENS, TOKENS)], {}, "do not differ"),
        ([PAIRS[0], PAIRS[0]], {"method": "pca"}, "have no component"),
        (PAIRS, {"method": "umap"}, "mean_difference, pca, pca_center"),
    ],
)
def test_pairs_without_a_direction_are_refused(kit, pairs, options, error):
    with pytest.raises(InvalidRequestError, match=error):
        contrast_vector(kit, pairs, **options)


def test_a_position_that_a_text_does_not_have_is_refused(kit):
    with pytest.raises(UnknownPositionError):
        contrast_vector(kit, PAIRS, position=4)


# --- files -------------------------------------------------------------------------------


@pytest.fixture
def vector() -> SteeringVector:
    directions = {layer: RNG.standard_normal(5).astype(np.float32) for layer in (12, 1, 3)}
    return SteeringVector(directions, "llama", {"method": "pca", "pairs": "5"})


def same(one: SteeringVector, other: SteeringVector) -> bool:
    return one.layers == other.layers and all(
        np.array_equal(one.directions[layer], other.directions[layer]) for layer in one.layers
    )


def test_ggufs_own_reader_reads_a_control_vector_of_ours(vector, tmp_path: Path):
    path = tmp_path / "ours.gguf"
    path.write_bytes(to_gguf(vector))
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "llama"
    assert fields["controlvector.layer_count"] == 3
    assert [tensor.name for tensor in reader.tensors] == [f"direction.{n}" for n in (1, 3, 12)]
    for tensor in reader.tensors:
        layer = int(tensor.name.split(".")[1])
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        np.testing.assert_array_equal(tensor.data, vector.directions[layer])
    assert same(from_file(path.read_bytes()), vector)


def test_a_control_vector_of_ggufs_own_writer_is_read(vector, tmp_path: Path):
    """As repeng writes it, and with metadata that it does not write."""
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "controlvector")
    writer.add_string("controlvector.model_hint", "qwen2")
    writer.add_uint32("controlvector.layer_count", len(vector.directions))
    writer.add_array("controlvector.notes", ["one", "two"])
    writer.add_bool("controlvector.normalize", False)
    for layer, direction in vector.directions.items():
        writer.add_tensor(f"direction.{layer}", direction)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = from_file(path.read_bytes())
    assert same(found, vector)
    assert found.architecture == "qwen2"


def test_a_vector_comes_back_from_safetensors_with_what_it_is(vector, tmp_path: Path):
    path = tmp_path / "vector.safetensors"
    path.write_bytes(to_safetensors(vector))
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {
            "format": "steering_vector",
            "architecture": "llama",
            "method": "pca",
            "pairs": "5",
        }
        assert sorted(file.keys()) == ["direction.1", "direction.12", "direction.3"]
    found = from_file(path.read_bytes())
    assert same(found, vector)
    assert (found.architecture, found.about) == ("llama", vector.about)


def test_layer_0_has_no_place_in_a_control_vector():
    """llama.cpp refuses a file with direction.0, and steers no first layer."""
    first = SteeringVector({0: np.ones(4, np.float32)})
    with pytest.raises(InvalidRequestError, match="layer 0"):
        to_gguf(first)
    assert same(from_file(to_safetensors(first)), first)
    as_if = to_gguf(SteeringVector({1: np.ones(4, np.float32)}))
    with pytest.raises(InvalidRequestError, match="layer 0"):
        from_gguf(as_if.replace(b"direction.1", b"direction.0"))


def test_damaged_files_are_refused_and_never_read_past_their_end(vector):
    body = to_gguf(vector)
    for length in range(0, len(body) - 16, 7):  # its last bytes fill a block
        with pytest.raises(InvalidRequestError):
            from_file(body[:length])
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(body)
        for place in generator.integers(4, len(body), 3):
            damaged[place] = generator.integers(256)
        try:
            from_file(bytes(damaged))
        except InvalidRequestError:
            continue
    header = json.dumps({"direction.1": {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}})
    for bad in (b"", b"x" * 40, len(header).to_bytes(8, "little") + header.encode()):
        with pytest.raises(InvalidRequestError):
            from_file(bad)


@pytest.mark.parametrize(
    ("directions", "error"),
    [
        ({}, "at least one layer"),
        ({1: np.zeros(3, np.float32)}, "zero"),
        ({1: np.array([1, np.nan], np.float32)}, "not finite"),
        ({1: np.ones(3, np.float32), 2: np.ones(4, np.float32)}, "one width"),
        ({1: np.ones((1, 3), np.float32)}, "one axis"),
    ],
)
def test_what_is_no_vector_is_refused(directions, error):
    with pytest.raises(InvalidRequestError, match=error):
        SteeringVector(directions)


# --- acting ------------------------------------------------------------------------------


def test_addition_moves_the_stream_by_strength_times_direction(kit):
    """The stream after a layer is moved, and what follows calculates from there."""
    direction = RNG.standard_normal(HIDDEN).astype(np.float32)
    steering = Steering.adding(SteeringVector({0: direction}), {0: -1.5})
    hook = ActivationHookSpec("*", C.RESIDUAL)
    steered = forward(kit, [TOKENS], [hook], steering.interventions(kit.structure, 0), logits="all")
    moved = streams(kit, TOKENS, 0) - 1.5 * direction
    (record,) = steered.activations["layer_0_residual"]
    np.testing.assert_allclose(record.data[0], moved, atol=1e-5)
    inner = kit.model.model
    after = inner.layers[1](mx.array(moved[None].astype(np.float32)), "causal", None)
    (record,) = steered.activations["layer_1_residual"]
    np.testing.assert_allclose(record.data, np.array(after), atol=1e-5)


def orthogonalised(architecture: str, direction: np.ndarray, **changes) -> ModelKit:
    """The model with `direction` projected out of all weights that write to the stream."""
    kit = kit_of(architecture, **changes)
    unit = mx.array(direction / np.linalg.norm(direction))
    written = ("embed_tokens", "o_proj", "down_proj", "dense", "fc2")
    for path, module in kit.model.named_modules():
        if path.split(".")[-1] not in written:
            continue
        is_table = isinstance(module, nn.Embedding)
        rows = module.weight if is_table else module.weight.T
        rows = rows - (rows @ unit)[:, None] * unit
        module.weight = rows if is_table else rows.T
        if "bias" in module:
            module.bias = module.bias - (module.bias @ unit) * unit
    return ModelKit(kit.model, Letters(), {}, architecture, None, resolve(kit.model))


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [("llama", {"tie_word_embeddings": False}), ("phi", {})],
)
def test_ablation_is_what_orthogonal_weights_do(architecture, changes):
    """In blocks one after another, and in parallel ones with biases."""
    direction = RNG.standard_normal(HIDDEN).astype(np.float32)
    steering = Steering.ablating(SteeringVector({1: direction}))
    kit = kit_of(architecture, **changes)
    edited = orthogonalised(architecture, direction, **changes)
    tokens = [TOKENS]
    plain = forward(kit, tokens, logits="all").logits
    expected = forward(edited, tokens, logits="all").logits
    found = forward(
        kit, tokens, interventions=steering.interventions(kit.structure, 0), logits="all"
    ).logits
    assert np.abs(found - plain).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_direction_of_another_width_or_layer_is_refused(kit):
    vector = SteeringVector({0: np.ones(HIDDEN + 1, np.float32), 9: np.ones(HIDDEN + 1)})
    with pytest.raises(InvalidRequestError, match="33 numbers"):
        Steering.adding(vector, {0: 1.0}).check(kit.structure)
    with pytest.raises(InvalidRequestError, match="no direction of layer 3"):
        Steering.adding(vector, {3: 1.0})
    with pytest.raises(InvalidRequestError, match="of_layer"):
        Steering.ablating(vector)
