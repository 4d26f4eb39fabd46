"""Attribution graphs, and what interventions on their features do."""

from dataclasses import asdict
from typing import Any

import numpy as np
from flask import Response

from engine.contract import schemas as s
from engine.features.bound import BoundSet
from engine.graphs.attribution import attribution_graph
from engine.graphs.documents import document
from engine.graphs.graph import AttributionGraph
from engine.graphs.interventions import FeatureAt, Outcome, intervened
from engine.graphs.replacement import Replacement
from engine.graphs.transcoders import writes_mlps
from engine.server.errors import ImpossibleError
from engine.server.http.prompts import check_vocabulary, prompt_tokens, single_token
from engine.server.http.requests import client
from engine.server.http.sweeps import Report, Sweep
from engine.server.http.warnings import warnings
from engine.server.service import Service
from engine.server.state.models import LoadedModel

LIKELIEST = 10
"""Logits that are looked at where no tokens are named."""


def attribute(service: Service, request: s.AttributionGraphRequest) -> dict[str, Any] | Response:
    model = service.models.get(request.model)
    tokens = _tokens(service, model, request)
    transcoders = _transcoders(model, request)

    def measure(report: Report) -> dict[str, Any]:
        graph = attribution_graph(
            model.kit,
            tokens,
            transcoders,
            max_logits=request.max_logits,
            logit_mass=request.logit_mass,
            max_feature_nodes=request.max_feature_nodes,
            skipped_positions=request.skipped_positions,
            progress=report,
        )
        return _document(model, graph, transcoders, request)

    told = warnings(model, len(tokens))
    sweep = Sweep(measure, lambda found: found | told)
    return sweep.answer(service, stream=request.stream, unit="targets")


def intervene(service: Service, request: s.GraphInterventionRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    tokens = _tokens(service, model, request)
    transcoders = _transcoders(model, request)
    changes = {_place(each): each.activation for each in request.changes}
    if len(changes) < len(request.changes):
        raise ImpossibleError("changes: a feature is there twice.", "changes")
    features = [_place(each) for each in request.features]
    named = None
    if request.tokens is not None:
        named = [_token(model, each, f"tokens.{n}") for n, each in enumerate(request.tokens)]

    def measure(job: Any) -> tuple[list[int], Any]:
        replacement = Replacement(model.kit, tokens, transcoders, request.skipped_positions)
        likeliest = np.argsort(-replacement.frozen.logits, kind="stable")[:LIKELIEST].tolist()
        looked_at = likeliest if named is None else named
        return looked_at, intervened(replacement, changes, features, looked_at)

    looked_at, outcomes = service.worker.call(measure, client())
    texts = model.token_texts(looked_at)
    return {
        "features": [
            {"layer": place.layer, "position": place.position, "feature": place.index}
            | _numbers(outcome, "before", "predicted", "measured")
            for place, outcome in zip(features, outcomes.features, strict=True)
        ],
        "logits": [
            {"id": token, "text": text} | asdict(outcome)
            for token, text, outcome in zip(looked_at, texts, outcomes.logits, strict=True)
        ],
    } | warnings(model, len(tokens))


def _document(
    model: LoadedModel,
    graph: AttributionGraph,
    transcoders: list[BoundSet],
    request: s.AttributionGraphRequest,
) -> dict[str, Any]:
    return document(
        graph,
        model_id=model.id,
        transcoders=[each.set_id for each in transcoders],
        settings={
            "max_n_logits": request.max_logits,
            "desired_logit_prob": request.logit_mass,
            "max_feature_nodes": request.max_feature_nodes,
            "skipped_positions": request.skipped_positions,
        },
        node_threshold=request.node_threshold,
        edge_threshold=request.edge_threshold,
        slug=request.slug,
    )


def _tokens(service: Service, model: LoadedModel, request: s.ReplacementRequest) -> list[int]:
    special = request.add_special_tokens
    return prompt_tokens(model, request.prompt, service.settings, "prompt", special=special)


def _transcoders(model: LoadedModel, request: s.ReplacementRequest) -> list[BoundSet]:
    """The transcoders that are named, or all that there are."""
    if request.feature_sets is not None:
        return [model.feature_sets.get(name) for name in request.feature_sets]
    found = [each for each in model.feature_sets.all() if writes_mlps(each)]
    if not found:
        raise ImpossibleError(
            f"feature_sets: no transcoders are loaded on {model.id}; load some first.",
            "feature_sets",
        )
    return found


def _place(each: s.FeaturePlace) -> FeatureAt:
    return FeatureAt(each.layer, each.position, each.feature)


def _token(model: LoadedModel, token: str | int, param: str) -> int:
    number = token if isinstance(token, int) else single_token(model, token, param)
    check_vocabulary(model, [number], param)
    return number


def _numbers(outcome: Outcome, *names: str) -> dict[str, float]:
    return {name: getattr(outcome, name) for name in names}
