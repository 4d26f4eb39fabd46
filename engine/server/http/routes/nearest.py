"""The tokens with the nearest embeddings."""

from typing import Any

import numpy as np

from engine.analysis.nearest_tokens import embedding_cosines
from engine.contract import schemas as s
from engine.server.http.prompts import check_vocabulary, single_token
from engine.server.http.requests import client
from engine.server.service import Service


def nearest_tokens(service: Service, request: s.NearestTokensRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    if isinstance(request.token, str):
        token = single_token(model, request.token, "token")
    else:
        token = request.token
        check_vocabulary(model, [token], "token")
    cosines = service.worker.call(lambda job: embedding_cosines(model.kit, token), client())
    order = np.argsort(-cosines, kind="stable")
    ids = [token, *order[order != token][: request.top_k].tolist()]
    texts = model.token_texts(ids)
    others = zip(ids[1:], texts[1:], strict=True)
    return {
        "id": token,
        "text": texts[0],
        "nearest": [{"id": each, "text": text, "cosine": cosines[each]} for each, text in others],
    }
