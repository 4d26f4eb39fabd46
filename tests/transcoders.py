"""Small transcoders of all layers of a served model, found by least squares in a few seconds.

Each feature looks for what the MLP was given at one position of a text; the decoders are the best
linear ones for the activations over that text. They are no good ones, and take no training.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bridge import api_types as api
from bridge.client import LMStudioNeuroScopeClient
from bridge.wire import from_record

FEATURES = 96
ACTIVE = 0.08
"""The share of a text's positions at which a feature is active."""
TEXT = (
    "The capital of France is Paris, and the capital of Italy is Rome. When Mary and John went "
    "to the store, John gave a drink to Mary. The cat sat near the door, the dog slept near the "
    "window, and the bird sang in the tall tree behind the house. In the year 1969 two people "
    "walked on the moon; it took them four days to fly there, and many more years to prepare. "
    "Water boils at one hundred degrees, but on a high mountain it needs less heat than that. "
    "She opened the old book, read a page about the sea, and fell asleep before the second one."
)
HOOKS: list[api.HookSpec] = [
    {"layer_name": "*", "component": "mlp", "capture_input": True, "hook_id": "mlp"},
]


def write_transcoders(client: LMStudioNeuroScopeClient, folder: Path) -> Path:
    """Write transcoders of a client's model as circuit-tracer does."""
    reply = client.forward(TEXT, HOOKS, logits="none", top_k=0, activation_format="reference")
    tensors = client.get_tensors(reply["capture_id"])
    client.delete_capture(reply["capture_id"])
    values: dict[int, dict[bool, np.ndarray]] = {}
    for records in reply["activations"].values():
        for record in records:
            value = from_record(record, tensors)[0]
            values.setdefault(record["layer"] or 0, {})[record["is_input"]] = value
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "model_kind: transcoder_set\n"
        "feature_input_hook: mlp.hook_in\n"
        "feature_output_hook: mlp.hook_out\n"
        "activation: jump_relu\n"
    )
    for layer, found in values.items():
        weights = fitted(found[True], found[False])
        save_file(weights, folder / f"layer_{layer}.safetensors")
    return folder


def fitted(given: np.ndarray, written: np.ndarray) -> dict[str, np.ndarray]:
    """The weights of a layer, from what its MLP was given and wrote, ``[seq, hidden]`` each."""
    places = np.linspace(1, len(given) - 1, FEATURES).astype(int)
    mean = given[1:].mean(axis=0)
    encoder = given[places] - mean
    encoder /= np.linalg.norm(encoder, axis=1, keepdims=True)
    bias = -encoder @ mean
    pre = given @ encoder.T + bias
    threshold = np.maximum(np.quantile(pre[1:], 1 - ACTIVE, axis=0), 1e-3)
    active = np.where(pre > threshold, pre, 0)[1:]
    inputs = np.concatenate([active, np.ones((len(active), 1))], axis=1).astype(np.float64)
    product = inputs.T @ inputs
    product[np.diag_indices(FEATURES)] += 1e-2 * np.trace(product) / FEATURES
    decoder = np.linalg.solve(product, inputs.T @ written[1:])
    weights = {
        "W_enc": encoder,
        "b_enc": bias,
        "W_dec": decoder[:-1],
        "b_dec": decoder[-1],
        "activation_function.threshold": threshold,
    }
    return {name: np.ascontiguousarray(each, np.float32) for name, each in weights.items()}
