"""Clients at once: none sees, changes or waits for ever on another's work."""

import resource
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

from tests.engine.server.conftest import LAYERS, running

CLIENTS = 64
COMPONENTS = ("residual", "attention", "mlp", "query", "attention_pattern", "layernorm", "value")


def asked(client):
    """A prompt and hooks of this client's own."""
    return {
        "prompt": f"client {client} says " + "x" * (client % 7),
        "max_tokens": 2 + client % 3,
        "temperature": 0.7,
        "seed": client,
        "activation_hooks": [
            {"layer_name": str(client % LAYERS), "component": COMPONENTS[client % 7]},
            {"layer_name": "*", "component": COMPONENTS[(client + 3) % 7]},
        ],
        "activation_format": "reference",
    }


def captured(server, client):
    with httpx.Client(base_url=server.listener.url, timeout=120) as http:
        answer = http.post("/v1/completions/with_activations", json=asked(client)).json()
        body = http.get(f"/v1/activations/{answer['capture_id']}/tensors").content
    return answer["choices"][0]["text"], load_safetensors(body)


def test_64_clients_at_once_each_capture_what_they_would_alone(server):
    alone = [captured(server, client) for client in range(CLIENTS)]
    together = threading.Barrier(CLIENTS)

    def at_once(client):
        together.wait(60)
        return captured(server, client)

    with ThreadPoolExecutor(CLIENTS) as pool:
        crowd = list(pool.map(at_once, range(CLIENTS)))
    for (text, tensors), (crowd_text, crowd_tensors) in zip(alone, crowd, strict=True):
        assert crowd_text == text
        assert crowd_tensors.keys() == tensors.keys()
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(crowd_tensors[name], tensor)


def most_memory():
    """The most resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture
def small_server(tiny_model):
    with running(tiny_model, capture_bytes=1 << 20) as server:
        yield server


def test_a_thousand_requests_with_captures_leave_no_memory_behind(small_server):
    hook = {"layer_name": "*", "component": "residual"}
    for number in range(1100):
        small_server.post(
            "/v1/completions/with_activations",
            prompt="hello there",
            max_tokens=2,
            activation_hooks=[hook],
            activation_format="base64",
        )
        if number == 99:
            before = most_memory()
    assert most_memory() < 1.05 * before
