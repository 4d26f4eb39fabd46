"""Texts as vectors: any layer's stream, pooled, the same as PyTorch's."""

import numpy as np
import openai
import pytest
import torch

from bridge.client import LMStudioNeuroScopeClient
from tests.engine.server.conftest import HIDDEN

TEXTS = ["The capital of France is Paris.", "A cat sat on the mat"]


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("layer", [None, 0, 17])
def test_a_vector_is_the_reference_s_hidden_state_pooled(
    engine: LMStudioNeuroScopeClient, smollm2_reference, layer, pooling
):
    reply = engine.create_embeddings(TEXTS, layer=layer, pooling=pooling)
    assert (reply["layer"], reply["pooling"]) == (layer, pooling)
    for text, entry in zip(TEXTS, reply["data"], strict=True):
        tokens = engine.tokenize(text)["tokens"]
        with torch.no_grad():
            states = smollm2_reference(torch.tensor([tokens]), output_hidden_states=True)
        stream = states.hidden_states[-1 if layer is None else layer + 1][0].float().numpy()
        expected = stream[-1] if pooling == "last" else stream.mean(axis=0)
        error = np.abs(np.array(entry["embedding"]) - expected).max() / np.abs(expected).max()
        assert error < 1e-4


def test_openai_s_client_reads_them(server):
    with openai.OpenAI(base_url=f"{server.listener.url}/v1", api_key="any") as client:
        reply = client.embeddings.create(model="tiny", input=["once", "upon a time"])
    plain = server.post("/v1/embeddings", input=["once", "upon a time"])
    assert [each.index for each in reply.data] == [0, 1]
    for ours, theirs in zip(plain["data"], reply.data, strict=True):
        assert len(theirs.embedding) == HIDDEN
        np.testing.assert_allclose(theirs.embedding, ours["embedding"], rtol=1e-6)
    assert reply.usage.prompt_tokens == len("once") + len("upon a time")
    alone = server.post("/v1/embeddings", input=list(b"once"))["data"][0]["embedding"]
    assert len(alone) == HIDDEN


def test_lm_studio_s_route_answers_the_same(server):
    asked = {"input": "once", "model": "tiny"}
    assert server.post("/api/v0/embeddings", **asked) == server.post("/v1/embeddings", **asked)


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [("dimensions", 8, 422), ("layer", 99, 422), ("input", "", 400), ("pooling", "max", 400)],
)
def test_what_cannot_be_is_refused(server, field, value, status):
    body = {"input": "once"} | {field: value}
    error = server.error("/v1/embeddings", status, **body)
    assert field in (error["param"] or error["message"])


def test_sequences_of_many_lengths_keep_their_order(server):
    texts = ["a", "long text", "b", "c", "another t"]
    together = server.post("/v1/embeddings", input=texts, layer=1)["data"]
    for text, entry in zip(texts, together, strict=True):
        (alone,) = server.post("/v1/embeddings", input=text, layer=1)["data"]
        np.testing.assert_allclose(entry["embedding"], alone["embedding"], rtol=1e-4, atol=1e-5)
