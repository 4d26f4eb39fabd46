"""Over HTTP: logits that are NaN are 422 with the layer, in a stream as its last event."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from conftest import HIDDEN, Server, running

PAIR = {"clean": [5, 6, 7], "corrupted": [5, 9, 7], "answer": 3, "distractor": 4}


@pytest.fixture
def spoilt(tiny_model: Path) -> Iterator[Server]:
    """A server of a model with a NaN in the weights of layer 1."""
    with running(tiny_model) as server:
        (model,) = server.service.models.all()
        weight = np.array(model.kit.model.layers[1].mlp.down_proj.weight)
        weight[0, 0] = np.nan
        model.kit.model.layers[1].mlp.down_proj.weight = mx.array(weight)
        yield server


def test_every_route_names_the_layer(spoilt: Server):
    for path, body in [
        ("/v1/forward", {"prompt": "abc"}),
        ("/v1/logit_lens", {"prompt": "abc"}),
        ("/v1/embeddings", {"input": "abc"}),
        ("/v1/completions", {"prompt": "abc"}),
        ("/v1/completions", {"prompt": "abc", "stream": True}),
        ("/v1/completions/with_activations", {"prompt": "abc"}),
        ("/v1/circuits/patch", PAIR),
        ("/v1/circuits/verify", {**PAIR, "circuit": [{"layer": 0, "component": "mlp"}]}),
    ]:
        error = spoilt.error(path, 422, **body)
        assert error["type"] == "not_finite", path
        assert "mlp of layer 1, at position 0" in error["message"]


def test_a_stream_ends_with_the_reason(server: Server):
    value = {"shape": [HIDDEN], "data_base64": encoded(np.full(HIDDEN, np.inf, np.float32))}
    edit = {"layer_name": "2", "component": "residual", "operation": "addition", "value": value}
    body = {
        "prompt": "abc",
        "stream": True,
        "logit_bias": {"65": 100},
        "interventions": [{**edit, "positions": "generated"}],
    }
    reply = server.http.post("/v1/completions/with_activations", json=body)
    first, last = (json.loads(each.removeprefix("data: ")) for each in reply.text.split("\n\n")[:2])
    assert first["choices"][0]["text"]
    assert last["error"]["type"] == "not_finite"
    assert "residual of layer 2, at position 3" in last["error"]["message"]


def encoded(array: np.ndarray) -> str:
    return b64encode(array.tobytes()).decode()
