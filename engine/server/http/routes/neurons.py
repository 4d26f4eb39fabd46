"""The tokens that a neuron promotes and suppresses."""

from typing import Any

import numpy as np

from engine.analysis.neuron_outputs import promoted_logits
from engine.contract import schemas as s
from engine.server.http.requests import client
from engine.server.service import Service
from engine.server.state.models import LoadedModel


def promoted_tokens(service: Service, request: s.PromotedTokensRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    place = request.layer, request.neuron, request.expert
    logits = service.worker.call(lambda job: promoted_logits(model.kit, *place), client())
    order = np.argsort(-logits, kind="stable")
    return {
        "layer": request.layer,
        "neuron": request.neuron,
        "expert": request.expert,
        "promoted": _effects(model, logits, order[: request.top_k]),
        "suppressed": _effects(model, logits, order[::-1][: request.top_k]),
    }


def _effects(model: LoadedModel, logits: np.ndarray, ids: np.ndarray) -> list[dict[str, Any]]:
    texts = model.token_texts(ids.tolist())
    return [
        {"id": token, "text": text, "logit": logits[token]}
        for token, text in zip(ids.tolist(), texts, strict=True)
    ]
