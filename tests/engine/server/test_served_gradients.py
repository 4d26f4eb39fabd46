"""Gradients over HTTP."""

import numpy as np
import pytest
from safetensors.numpy import load

from engine.contract import schemas as s
from tests.engine.server.conftest import HEAD_DIM

TEXT = "in the beginning"
TARGET = {"kind": "logit_difference", "tokens": ["a"], "against": ["b"]}


def test_gradients_come_as_records_and_are_kept_as_safetensors(server):
    hooks = [{"layer_name": "1", "component": "query", "heads": [2], "hook_id": "q"}]
    reply = server.post(
        "/v1/gradients",
        prompt=TEXT,
        target=TARGET,
        hooks=hooks,
        integrated={"steps": 4, "baseline": "token", "token": " "},
        activation_format="array",
    )
    found = s.Gradients.model_validate(reply)
    (record,) = found.gradients["q"]
    assert record.shape == [1, 1, len(TEXT), HEAD_DIM]
    body = server.http.get(f"/v1/activations/{found.capture_id}/tensors").content
    (kept,) = load(body).values()
    np.testing.assert_allclose(kept, np.array(record.data), rtol=1e-6)
    assert np.abs(kept).max() > 0
    assert len(found.saliency.norm) == len(found.integrated.attributions) == len(TEXT)
    gap = found.score - found.integrated.baseline_score
    assert sum(found.integrated.attributions) - gap == pytest.approx(found.integrated.delta)
    assert (found.forward_passes, found.backward_passes) == (7, 5)
    pass_score = server.post("/v1/forward", prompt=TEXT, logits="last", top_k=0)["logits"]
    assert pass_score["shape"][-1] > 2


def test_what_cannot_be_differentiated_is_refused_with_the_field(server):
    for status, param, body in (
        (400, "target.kind", {"target": {"kind": "entropy"}}),
        (422, None, {"target": {"kind": "logit"}}),
        (422, "target.tokens", {"target": {"tokens": ["two words"]}}),
        (422, "integrated.token", {"target": TARGET, "integrated": {"baseline": "token"}}),
        (422, "integrated.prompt", {"target": TARGET, "integrated": {"prompt": TEXT}}),
        (
            422,
            "hooks",
            {"target": TARGET, "hooks": [{"feature_set": "any"}]},
        ),
        (422, None, {"target": TARGET, "hooks": [{"layer_name": "9", "component": "mlp"}]}),
    ):
        error = server.error("/v1/gradients", status, prompt=TEXT, **body)
        assert error.get("param") == param, error
