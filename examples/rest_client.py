"""Ask the server over plain HTTP: JSON for what is small, safetensors for tensors.

Needs httpx and safetensors, and nothing of this project. Start
`neuroscope-bridge serve --model smollm2` first; another server's address is the argument.
"""

import sys

import httpx
import safetensors.numpy

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:50111"

with httpx.Client(base_url=ADDRESS, timeout=60) as http:
    health = http.get("/health").json()
    print(health["model"], "is ready" if health["ready"] else "is busy")

    request = {
        "prompt": "The capital of France is",
        "max_tokens": 4,
        "temperature": 0,
        "activation_hooks": [{"layer_name": "*", "component": "mlp", "positions": [-1]}],
        "activation_format": "reference",
    }
    reply = http.post("/v1/completions/with_activations", json=request).raise_for_status().json()
    print(repr(reply["choices"][0]["text"]), reply["usage"]["total_tokens"], "tokens")

    capture = f"/v1/activations/{reply['capture_id']}"
    tensors = safetensors.numpy.load(http.get(f"{capture}/tensors").raise_for_status().content)
    first = reply["activations"]["layer_0_mlp"][0]["tensor"]
    print(len(tensors), "tensors, the first is", first, tensors[first].shape, tensors[first].dtype)
    http.delete(capture).raise_for_status()

    nowhere = {"layer_name": "99", "component": "mlp"}
    refused = http.post("/v1/forward", json={"prompt": "x", "activation_hooks": [nowhere]})
    print(refused.status_code, refused.json()["error"]["message"])

# prints
#   smollm2 is ready
#   ' Paris.\n\n' 9 tokens
#   30 tensors, the first is layer_0_mlp/0 (1, 1, 576) float32
#   422 '99' is not in the model; the model has layers 0 to 29
