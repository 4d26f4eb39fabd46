"""Interventions over HTTP are those of the engine, and none is silently inert."""

import numpy as np
import pytest

from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from tests.engine.server.conftest import HEADS, HIDDEN, LAYERS

PROMPT = "once upon"
VECTOR = np.linspace(-1, 1, HIDDEN, dtype=np.float32)
TENSOR = {"shape": [HIDDEN], "data": VECTOR.tolist()}
MLP = {"layer_name": "1", "component": "mlp"}


def logits(server, *interventions, prompt=PROMPT):
    body = {"logits": "all", "activation_format": "array", "interventions": interventions}
    answer = server.post("/v1/forward", prompt=prompt, **body)
    return np.array(answer["logits"]["data"], np.float32)


def directly(server, *interventions):
    model = server.service.models.get(None)
    tokens = server.post("/v1/tokenize", text=PROMPT)["tokens"]
    return server.service.worker.call(
        lambda job: forward(model.kit, [tokens], interventions=interventions, logits="all").logits
    )


OPERATIONS = {
    "ablation": ({}, {}),
    "mean": ({"positions": [1]}, {"positions": (1,)}),
    "scaling": ({"factor": -2.0}, {"factor": -2.0}),
    "addition": ({"value": TENSOR, "positions": [-1, 0]}, {"value": VECTOR, "positions": (-1, 0)}),
    "replacement": ({"value": TENSOR}, {"value": VECTOR}),
    "noise": ({"scale": 2.0, "seed": 5}, {"scale": 2.0, "seed": 5}),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_acts_as_in_the_engine(server, operation):
    sent, meant = OPERATIONS[operation]
    served = logits(server, {**MLP, "operation": operation, **sent})
    np.testing.assert_array_equal(
        served, directly(server, Intervention("1", "mlp", operation, **meant))
    )
    assert np.abs(served - logits(server)).max() > 1e-3


def test_heads_are_selected(server):
    spec = {"layer_name": "*", "component": "head_output", "operation": "ablation", "heads": [2]}
    meant = Intervention("*", "head_output", "ablation", heads=(2,))
    np.testing.assert_array_equal(logits(server, spec), directly(server, meant))


def test_patching_from_a_kept_capture_reproduces_the_other_run_exactly(server):
    other = "upon once"
    hook = {"layer_name": "1", "component": "residual", "hook_id": "kept"}
    kept = server.post("/v1/forward", prompt=other, activation_hooks=[hook])
    patch = {
        "layer_name": "1",
        "component": "residual",
        "operation": "patching",
        "capture_id": kept["capture_id"],
        "hook_id": "kept",
    }
    np.testing.assert_array_equal(logits(server, patch), logits(server, prompt=other))


def test_a_generation_is_changed_at_every_step(server):
    def generated(**fields):
        body = {"prompt": PROMPT, "max_tokens": 4, "activation_hooks": [MLP], **fields}
        answer = server.post("/v1/completions/with_activations", activation_format="array", **body)
        return [record["data"] for record in answer["activations"]["layer_1_mlp"]]

    steps = generated(interventions=[MLP | {"operation": "replacement", "value": TENSOR}])
    assert len(steps) == 4
    for step in steps:
        np.testing.assert_array_equal(
            np.array(step, np.float32), np.broadcast_to(VECTOR, np.shape(step))
        )


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"operation": "rotation"}, 400, "operation"),
        ({"operation": "scaling"}, 422, "needs the parameter factor"),
        ({"operation": "ablation", "factor": 2.0}, 422, "no parameter factor"),
        ({"operation": "ablation", "capture_id": "cap-1"}, 422, "only patching reads a capture"),
        ({"operation": "patching"}, 422, "needs capture_id and hook_id"),
        (
            {"operation": "patching", "capture_id": "cap-1", "hook_id": "a", "value": TENSOR},
            422,
            "no parameter value",
        ),
        ({"operation": "addition", "value": {"shape": [2], "data": [0, 0]}}, 422, "does not fit"),
        ({"operation": "ablation", "positions": [9999]}, 422, "positions 0 to "),
        ({"operation": "ablation", "heads": [0]}, 422, "no heads"),
        (
            {"operation": "ablation", "component": "query", "heads": [HEADS]},
            422,
            f"heads 0 to {HEADS - 1}",
        ),
        ({"operation": "ablation", "layer_name": "9"}, 422, f"layers 0 to {LAYERS - 1}"),
        ({"operation": "ablation", "component": "router"}, 422, "the model has"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/forward", "/v1/completions/with_activations"])
def test_what_cannot_act_is_refused_by_name(server, path, change, status, message):
    error = server.error(path, status, prompt=PROMPT, interventions=[MLP | change])
    assert message in error["message"]
