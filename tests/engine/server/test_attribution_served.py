"""Logit attribution, heads in tokens and trained lenses over HTTP."""

import numpy as np
import pytest
import torch

from tests.engine.server.conftest import HEADS, HIDDEN, LAYERS


def test_a_logit_is_told_with_its_terms(server):
    forward = server.post("/v1/forward", prompt="hello", logits="last", activation_format="array")
    logits = np.float32(forward["logits"]["data"]).reshape(-1)
    reply = server.post("/v1/logit_attribution", prompt="hello", answer=5, distractor=7, by="head")
    assert reply["logit"] == pytest.approx(logits[5] - logits[7], abs=1e-5)
    assert reply["sum"] + reply["error"] == pytest.approx(reply["logit"], abs=1e-6)
    assert sum(term["value"] for term in reply["terms"]) == pytest.approx(reply["sum"], abs=1e-6)
    heads = [(term["layer"], term["index"]) for term in reply["terms"] if term["part"] == "head"]
    assert heads == [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
    assert "".join(reply["texts"]) == "hello"
    assert reply["position"] == 4
    error = server.error("/v1/logit_attribution", 422, prompt="hello", answer=5, position=9)
    assert error["type"] == "unknown_position"


def test_a_head_is_read_in_tokens(server):
    body = {"layer": 1, "head": 2, "circuit": "OV", "top_k": 3}
    reply = server.post("/v1/heads/tokens", tokens=["a", 9], **body)
    assert [len(reply[end]) for end in ("most", "least")] == [3, 3]
    assert -1 <= reply["score"] <= 1
    (first, second) = reply["readings"]
    assert (first["text"], second["id"]) == ("a", 9)
    values = [each["logit"] for each in first["most"] + first["least"][::-1]]
    assert values == sorted(values, reverse=True)
    assert server.post("/v1/heads/tokens", **body | {"circuit": "QK"})["readings"] == []
    assert server.error("/v1/heads/tokens", 422, **body | {"head": 4})["type"] == "unknown_head"


def test_a_lens_is_read_from_below_the_roots_alone(server, tiny_model, tmp_path):
    torch.manual_seed(0)
    saved = {"J": {1: torch.eye(HIDDEN)}, "d_model": HIDDEN, "n_prompts": 1}
    torch.save(saved, tiny_model.parent / "lens.pt")
    torch.save(saved, tmp_path / "lens.pt")
    lens = {"kind": "jacobian", "path": str(tiny_model.parent / "lens.pt")}
    plain = server.post("/v1/logit_lens", prompt="hello", top_k=3)
    assert plain["kind"] == "logit"
    reply = server.post("/v1/logit_lens", prompt="hello", top_k=3, lens=lens)
    assert reply["kind"] == "jacobian"
    assert reply["layers"] == [plain["layers"][1], plain["layers"][LAYERS - 1]]
    refused = {"kind": "jacobian", "path": str(tmp_path / "lens.pt")}
    assert server.error("/v1/logit_lens", 403, prompt="hello", lens=refused)["type"] == "forbidden"
    lens["kind"] = "tuned"
    assert "config.json" in server.error("/v1/logit_lens", 422, prompt="a", lens=lens)["message"]
