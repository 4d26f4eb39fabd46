"""`/v1/tokens/nearest` answers which tokens have the embeddings nearest to a token's."""

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest

from engine.contract import schemas as s

PATH = "/v1/tokens/nearest"


def test_tokens_are_ranked_by_the_angle_between_their_embeddings(server, tiny_model):
    model, _ = mlx_lm.load(str(tiny_model))
    rows = np.array(model.model.embed_tokens.weight.astype(mx.float32))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows[9]
    ids = [each for each in np.argsort(-cosines).tolist() if each != 9][:4]
    found = s.NearestTokens.model_validate(server.post(PATH, token=9, top_k=4))
    texts = server.service.models.get(None).token_texts([9, *ids])
    assert (found.id, found.text) == (9, texts[0])
    assert [(each.id, each.text) for each in found.nearest] == list(
        zip(ids, texts[1:], strict=True)
    )
    assert [each.cosine for each in found.nearest] == pytest.approx(cosines[ids], abs=1e-5)


@pytest.mark.parametrize("token", [10**6, "no single token at all"])
def test_what_is_no_token_is_refused_by_name(server, token):
    assert "token: " in server.error(PATH, 422, token=token)["message"]
