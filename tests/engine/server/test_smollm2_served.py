"""The default model over HTTP: real words, and PyTorch's activations."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

from tests.engine.server.conftest import Server, running
from tests.engine.server.test_streaming import streamed

GIFT = "When Mary and John went to the store, John gave a drink to"
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def smollm2(smollm2_path: Path) -> Iterator[Server]:
    with running(smollm2_path) as server:
        yield server


def test_it_answers_a_question(smollm2):
    answer = smollm2.post("/v1/chat/completions", messages=FRANCE, max_tokens=20)
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "The capital of France is Paris."
    assert choice["finish_reason"] == "stop"


def test_it_goes_on_from_its_answer_without_reading_it_again(smollm2):
    first = smollm2.post("/v1/chat/completions", messages=FRANCE, max_tokens=20)
    said = first["choices"][0]["message"]
    more = [*FRANCE, said, {"role": "user", "content": "And of Italy?"}]
    usage = smollm2.post("/v1/chat/completions", messages=more, max_tokens=20)["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cached == first["usage"]["total_tokens"]  # with the end of the turn


def test_it_streams_the_same_answer(smollm2):
    chunks = streamed(smollm2, "/v1/chat/completions", messages=FRANCE, max_tokens=20, stream=True)
    deltas = [chunk["choices"][0]["delta"]["content"] for chunk in chunks]
    assert "".join(deltas) == "The capital of France is Paris."


def test_it_knows_who_gets_the_drink(smollm2):
    answer = smollm2.post("/v1/forward", prompt=GIFT, top_k=1)
    assert answer["top"][0][0]["text"] == " Mary"


def test_its_residual_stream_is_what_pytorch_computes(smollm2, smollm2_reference):
    import torch

    hooks = [{"layer_name": layer, "component": "residual"} for layer in ("0", "15", "28")]
    answer = smollm2.post(
        "/v1/forward", prompt=GIFT, activation_hooks=hooks, activation_format="reference"
    )
    body = smollm2.http.get(f"/v1/activations/{answer['capture_id']}/tensors").content
    tensors = load_safetensors(body)
    with torch.no_grad():
        expected = smollm2_reference(torch.tensor(answer["tokens"]), output_hidden_states=True)
    for layer in (0, 15, 28):
        reference = expected.hidden_states[layer + 1].numpy()
        captured = tensors[f"layer_{layer}_residual/0"]
        assert np.abs(captured - reference).max() < 1e-4 * np.abs(reference).max()
    logits = tensors["logits/0"][0, -1]
    assert np.abs(logits - expected.logits[0, -1].numpy()).max() < 1e-3
