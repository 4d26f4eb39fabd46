"""A model's weights over HTTP: retrieved, listed, read whole and in part, refused if too large."""

import json
from pathlib import Path
from urllib.parse import quote

import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load

from engine.contract.schemas import LoadModelRequest
from tests.engine.server.conftest import HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS, running


@pytest.fixture(scope="module")
def stored(tiny_model: Path) -> dict[str, np.ndarray]:
    """The weights as the model folder stores them, by mlx-lm's names."""
    return {n: np.array(w) for n, w in mx.load(str(tiny_model / "model.safetensors")).items()}


def read(server, name: str, model: str = "tiny", **query) -> dict[str, np.ndarray]:
    response = server.http.get(f"/v1/models/{model}/weights/{name}", params=query)
    assert response.status_code == 200, response.text
    return load(response.content)


def refused(server, name: str, status: int, **query) -> dict:
    response = server.http.get(f"/v1/models/tiny/weights/{name}", params=query)
    assert response.status_code == status, response.text
    return response.json()["error"]


def test_a_model_is_described_by_its_id(server):
    (entry,) = server.get("/v1/models")["data"]
    assert server.get("/v1/models/tiny") == entry
    response = server.http.get("/v1/models/huge")
    assert response.status_code == 404
    assert "tiny" in response.json()["error"]["message"]


def test_a_model_whose_id_contains_slashes_is_found(tiny_model):
    with running(None) as server:
        request = LoadModelRequest(model_path=str(tiny_model), model_id="some/tiny/one")
        server.service.worker.call(lambda job: server.service.models.load(request))
        for model in ("some/tiny/one", quote("some/tiny/one", safe="")):
            assert server.get(f"/v1/models/{model}")["id"] == "some/tiny/one"
            assert server.get(f"/v1/models/{model}/weights")["model"] == "some/tiny/one"
            assert read(server, "W_E", model)["W_E"].shape[1] == HIDDEN


def test_the_weights_are_listed_with_shapes_and_absences(server):
    listed = server.get("/v1/models/tiny/weights")["data"]
    by_name = {entry["name"]: entry for entry in listed}
    query = by_name["W_Q"]
    assert query["layers"] == list(range(LAYERS))
    assert query["axes"] == ["head", "d_model", "d_head"]
    assert query["shape"] == [HEADS, HIDDEN, HEAD_DIM]
    assert query["modules"][1] == "model.layers.1.self_attn.q_proj"
    assert by_name["W_K"]["shape"] == [KV_HEADS, HIDDEN, HEAD_DIM]
    assert by_name["W_router"]["shape"] == []
    assert "experts" in by_name["W_router"]["reason"]


def test_a_weight_is_that_of_the_folder_in_the_field_s_orientation(server, stored):
    own = stored["model.layers.1.self_attn.q_proj.weight"]
    expected = own.reshape(HEADS, HEAD_DIM, HIDDEN).swapaxes(1, 2)
    np.testing.assert_array_equal(read(server, "W_Q", layer=1)["W_Q"], expected)
    np.testing.assert_array_equal(read(server, "W_Q", layer=1, head=2)["W_Q"], expected[2])
    down = stored["model.layers.2.mlp.down_proj.weight"]
    np.testing.assert_array_equal(read(server, "W_out", layer=2, neuron=5)["W_out"], down[:, 5])


def test_columns_of_the_unembedding_are_read_alone(server, stored):
    table = stored["model.embed_tokens.weight"]
    columns = read(server, "W_U", tokens="7,3")["W_U"]
    np.testing.assert_array_equal(columns, table[[7, 3]].T)


def test_the_circuits_of_a_head_are_products_of_two_factors(server):
    value, output, query, key = (
        read(server, name, layer=0, head=head)[name]
        for name, head in (("W_V", 1), ("W_O", 3), ("W_Q", 3), ("W_K", 1))
    )
    factors = read(server, "OV", layer=0, head=3)
    assert (factors["A"].shape, factors["B"].shape) == ((HIDDEN, HEAD_DIM), (HEAD_DIM, HIDDEN))
    np.testing.assert_array_equal(factors["A"] @ factors["B"], value @ output)
    factors = read(server, "QK", layer=0, head=3)
    np.testing.assert_array_equal(factors["A"] @ factors["B"], query @ key.T)


def test_the_body_says_which_key_value_head_serves(server):
    response = server.http.get("/v1/models/tiny/weights/OV", params={"layer": 0, "head": 3})
    length = int.from_bytes(response.content[:8], "little")
    described = json.loads(response.content[8 : 8 + length])["__metadata__"]
    assert (described["head"], described["kv_head"]) == ("3", "1")


@pytest.mark.parametrize(
    ("name", "query", "kind", "says"),
    [
        ("W_X", {}, "unknown_weight", "W_Q"),
        ("W_router", {"layer": 0}, "unknown_weight", "experts"),
        ("W_Q", {}, "unknown_layer", "0 to 2"),
        ("W_Q", {"layer": 3}, "unknown_layer", "0 to 2"),
        ("W_E", {"layer": 0}, "unknown_layer", "whole model"),
        ("W_Q", {"layer": 0, "head": 4}, "unknown_head", "0 to 3"),
        ("W_K", {"layer": 0, "head": 2}, "unknown_head", "0 to 1"),
        ("OV", {"layer": 0}, "unknown_head", "head"),
        ("OV", {"layer": 0, "head": 4}, "unknown_head", "0 to 3"),
        ("W_in", {"layer": 0, "neuron": 64}, "invalid_request", "0 to 63"),
        ("W_in", {"layer": 0, "head": 0}, "invalid_request", "d_mlp"),
        ("W_in", {"layer": 0, "expert": 0}, "invalid_request", "d_mlp"),
        ("W_U", {"tokens": "1,9999"}, "invalid_request", "9999"),
    ],
)
def test_what_there_is_not_is_refused_by_name(server, name, query, kind, says):
    error = refused(server, name, 422, **query)
    assert error["type"] == kind or kind == "invalid_request"
    assert says in error["message"]


@pytest.mark.parametrize("tokens", ["", "a", "1,", "-1", "1 2", "99999999999"])
def test_tokens_that_are_no_ids_are_malformed(server, tokens):
    assert refused(server, "W_U", 400, tokens=tokens)["param"] == "tokens"


def test_a_weight_over_the_budget_is_refused_and_a_part_of_it_is_not(tiny_model):
    with running(tiny_model, capture_bytes=1024) as server:
        error = refused(server, "W_in", 507, layer=0)
        assert error["type"] == "weight_too_large"
        assert "8192 bytes, more than the 1024" in error["message"]
        assert read(server, "W_in", layer=0, neuron=3)["W_in"].shape == (HIDDEN,)
