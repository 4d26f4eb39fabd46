"""What parts of a model do to logits by themselves: in a pass, and of heads by their weights."""

from dataclasses import asdict
from typing import Any

import numpy as np

from engine.analysis.head_circuits import HeadCircuit, head_circuit
from engine.analysis.logit_attribution import logit_attribution
from engine.contract import schemas as s
from engine.server.http.prompts import one_token, prompt_tokens
from engine.server.http.requests import client, session
from engine.server.http.steered import not_steered
from engine.server.http.top_tokens import effects
from engine.server.http.warnings import warnings
from engine.server.jobs.job import Job
from engine.server.service import Service
from engine.server.state.models import LoadedModel


def attribute(service: Service, request: s.LogitAttributionRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    tokens = prompt_tokens(
        model, request.prompt, service.settings, special=request.add_special_tokens
    )
    answer = one_token(model, request.answer, "answer")
    other = request.distractor
    distractor = None if other is None else one_token(model, other, "distractor")
    options: dict[str, Any] = {name: getattr(request, name) for name in ("position", "by", "top_k")}
    options["feature_sets"] = [model.feature_sets.get(name) for name in request.feature_sets]
    found = service.worker.call(
        lambda job: logit_attribution(model.kit, tokens, answer, distractor, **options), client()
    )
    place = request.position
    return {
        "tokens": tokens,
        "texts": model.token_texts(tokens),
        "position": place if place >= 0 else len(tokens) + place,
        "logit": found.logit,
        "sum": found.sum,
        "error": found.error,
        "terms": [asdict(term) for term in found.terms],
        **warnings(model, len(tokens), not_steered(service, model, session())),
    }


def head_tokens(service: Service, request: s.HeadTokensRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    asked = [
        one_token(model, token, f"tokens.{place}") for place, token in enumerate(request.tokens)
    ]
    budget = service.settings.capture_bytes

    def work(job: Job) -> tuple[HeadCircuit, float, list[np.ndarray]]:
        found = head_circuit(model.kit, request.layer, request.head, request.circuit, budget)
        return found, found.score, [found.diagonal, *(found.row(token) for token in asked)]

    circuit, score, (diagonal, *rows) = service.worker.call(work, client())
    return {
        "layer": request.layer,
        "head": request.head,
        "circuit": request.circuit,
        "score": score,
        **_ends(model, diagonal, request.top_k),
        "readings": [
            {"id": token, "text": text, **_ends(model, row, request.top_k)}
            for token, text, row in zip(asked, model.token_texts(asked), rows, strict=True)
        ],
        "notes": list(circuit.notes),
    }


def _ends(model: LoadedModel, values: np.ndarray, count: int) -> dict[str, Any]:
    order = np.argsort(-values, kind="stable")
    return {
        "most": effects(model, values, order[:count]),
        "least": effects(model, values, order[::-1][:count]),
    }
