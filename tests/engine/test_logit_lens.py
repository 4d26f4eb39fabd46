"""The logit lens is the final norm and unembedding of each layer's residual stream."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from engine.analysis.logit_lens import logit_lens
from engine.captures.hooks import ActivationHookSpec
from engine.runs.forward import forward
from engine.runs.kit import ModelKit, load_model, tokenize


@pytest.fixture(scope="module")
def kit(smollm2_path: Path) -> ModelKit:
    return load_model(smollm2_path)


def test_the_last_layer_of_the_lens_is_the_model_itself_bit_for_bit(kit: ModelKit):
    tokens = tokenize(kit, "The capital of France is")
    layer, logits = list(logit_lens(kit, tokens))[-1]
    assert layer == kit.info.layers - 1
    np.testing.assert_array_equal(logits, forward(kit, [tokens], logits="all").logits[0])


def test_every_layer_is_the_norm_and_unembedding_of_its_captured_stream(kit: ModelKit):
    tokens = tokenize(kit, "The capital of France is")
    captured = forward(kit, [tokens], [ActivationHookSpec("*", "residual")]).activations
    inner = kit.model.model
    for layer, logits in logit_lens(kit, tokens):
        stream = mx.array(captured[f"layer_{layer}_residual"][0].data)
        expected = inner.embed_tokens.as_linear(inner.norm(stream))
        np.testing.assert_allclose(logits, np.array(expected[0]), atol=1e-4)
