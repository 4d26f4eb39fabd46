"""The tokens that a neuron promotes and suppresses."""

from typing import Any

import numpy as np

from engine.analysis.neuron_outputs import promoted_logits
from engine.contract import schemas as s
from engine.server.http.requests import client
from engine.server.http.top_tokens import effects
from engine.server.service import Service


def promoted_tokens(service: Service, request: s.PromotedTokensRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    place = request.layer, request.neuron, request.expert
    logits = service.worker.call(lambda job: promoted_logits(model.kit, *place), client())
    order = np.argsort(-logits, kind="stable")
    return {
        "layer": request.layer,
        "neuron": request.neuron,
        "expert": request.expert,
        "promoted": effects(model, logits, order[: request.top_k]),
        "suppressed": effects(model, logits, order[::-1][: request.top_k]),
    }
