"""`/v1/neurons/tokens` answers what a neuron's output weights promote."""

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest

from engine.contract import schemas as s

PATH = "/v1/neurons/tokens"


def test_tokens_are_ranked_by_the_output_weights_through_norm_and_unembedding(server, tiny_model):
    model, _ = mlx_lm.load(str(tiny_model))
    inner = model.model
    out = inner.layers[1].mlp.down_proj.weight[:, 9] * inner.norm.weight
    logits = np.array((inner.embed_tokens.weight @ out).astype(mx.float32))
    reply = server.post(PATH, layer=1, neuron=9, top_k=3)
    found = s.PromotedTokens.model_validate(reply)
    assert (found.layer, found.neuron, found.expert) == (1, 9, None)
    for effects, order in ((found.promoted, -logits), (found.suppressed, logits)):
        ids = np.argsort(order)[:3].tolist()
        assert [each.id for each in effects] == ids
        assert [each.text for each in effects] == server.service.models.get(None).token_texts(ids)
        assert [each.logit for each in effects] == pytest.approx(logits[ids], rel=1e-4)


@pytest.mark.parametrize(
    ("place", "kind", "says"),
    [
        ({"layer": 3, "neuron": 0}, "unknown_layer", "layers 0 to 2"),
        ({"layer": 1, "neuron": 64}, "unknown_neuron", "0 to 63"),
        ({"layer": 1, "neuron": 0, "expert": 1}, "impossible", "no mixture of experts"),
    ],
)
def test_a_neuron_that_is_not_there_is_refused_by_name(server, place, kind, says):
    error = server.error(PATH, 422, **place)
    assert error["type"] == kind
    assert says in error["message"]
