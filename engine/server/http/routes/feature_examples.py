"""The texts that features are on in, and the tokens that they promote."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from math import isinf
from pathlib import Path
from typing import Any

from flask import Response

from engine.contract import schemas as s
from engine.features.bound import BoundLayer, BoundSet
from engine.features.documents import TextFiles, TextList, Texts
from engine.features.examples.results import FeatureExamples, found, token_effects
from engine.features.examples.search import ExampleSearch
from engine.features.examples.settings import ExampleSettings
from engine.server.errors import ForbiddenError, ImpossibleError
from engine.server.http.prompts import check_all_lengths
from engine.server.http.requests import client
from engine.server.http.sweeps import Report, Sweep
from engine.server.http.warnings import warnings
from engine.server.service import Service
from engine.server.state.models import LoadedModel
from engine.server.state.settings import Settings

SETTINGS = ("top_k", "before", "after", "context", "skipped", "tokens")


def examples(service: Service, request: s.FeatureExamplesRequest) -> dict[str, Any] | Response:
    model = service.models.get(request.model)
    bound = model.feature_sets.get(request.feature_set)
    layer = _layer(bound, request.layer, request.features)
    settings = ExampleSettings(**{name: getattr(request, name) for name in SETTINGS})
    texts = _texts(service.settings, request)
    what = (request.model_dump_json(exclude={"stream", "resume", "effects"}), texts.nbytes)

    def work(report: Report) -> tuple[ExampleSearch, int, list[FeatureExamples]]:
        kept = model.example_searches.take(what) if request.resume else None
        search = kept or ExampleSearch(model.kit, layer, texts, settings, request.features)
        resumed = search.tokens
        try:
            search.run(report)
        except BaseException:  # also for a client that went away
            model.example_searches.keep(what, search)
            raise
        with model.lock:
            return search, resumed, list(found(model.kit, search, request.effects))

    def reply(result: tuple[ExampleSearch, int, list[FeatureExamples]]) -> dict[str, Any]:
        search, resumed, features = result
        return {
            "feature_set": request.feature_set,
            "layer": layer.reads.point.layer,
            "positions": search.tally.positions,
            "tokens": search.tokens,
            "resumed_tokens": resumed,
            "features": [_entry(each) for each in features],
        } | warnings(model, request.context, bound.feature_set.warnings)

    unit = "bytes" if request.tokens is None else "tokens"
    return Sweep(work, reply).answer(service, stream=request.stream, unit=unit)


def tokens(service: Service, request: s.FeatureTokensRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    bound = model.feature_sets.get(request.feature_set)
    layer = _layer(bound, request.layer, [request.feature])
    promoted, suppressed = service.worker.call(
        lambda job: _effects(model, layer, request), client()
    )
    return {
        "feature_set": request.feature_set,
        "feature": request.feature,
        "layer": layer.reads.point.layer,
        "promoted": [asdict(each) for each in promoted],
        "suppressed": [asdict(each) for each in suppressed],
    }


def _effects(
    model: LoadedModel, layer: BoundLayer, request: s.FeatureTokensRequest
) -> tuple[list[Any], list[Any]]:
    with model.lock:
        pairs = token_effects(model.kit, layer, [request.feature], request.top_k)
    if pairs is None:
        raise ImpossibleError(
            f"feature_set: {request.feature_set} does not write to the residual stream, and so "
            "promotes no token by itself",
            "feature_set",
        )
    return pairs[0]


def _layer(bound: BoundSet, layer: int | None, features: Sequence[int]) -> BoundLayer:
    bound.check_features(features)
    layers = bound.layers_named(layer)
    if len(layers) > 1:
        known = ", ".join(str(each.reads.point.layer) for each in layers)
        raise ImpossibleError(
            f"layer: {bound.set_id} has features of layers {known}; one of them is needed", "layer"
        )
    return layers[0]


def _texts(settings: Settings, request: s.FeatureExamplesRequest) -> Texts:
    if request.texts is not None:
        check_all_lengths(request.texts, settings, "texts")
        return TextList(request.texts)
    assert request.texts_path is not None, "the schema wants one of them"
    roots = [root.resolve() for root in settings.model_roots]
    path = Path(request.texts_path).resolve()
    if _is_below(path, roots):
        texts = TextFiles(path)
        if all(_is_below(each.resolve(), roots) for each in texts.files):
            return texts
    raise ForbiddenError(
        f"texts_path: {request.texts_path!r} is not below a folder that this server allows; "
        "allow one by --model-root.",
        "texts_path",
    )


def _is_below(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _entry(features: FeatureExamples) -> dict[str, Any]:
    edges = [None if isinf(edge) else edge for edge in features.edges]
    return asdict(replace(features, edges=[])) | {"edges": edges}
