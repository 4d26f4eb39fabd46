"""Clients at once: none sees, changes or waits for ever on another's work."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
from safetensors.numpy import load as load_safetensors

from tests.engine.server.conftest import LAYERS

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
            np.testing.assert_allclose(crowd_tensors[name], tensor, rtol=0, atol=1e-5)
