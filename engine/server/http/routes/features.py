"""Feature sets: loaded beside a model, listed, unloaded, measured."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
from flask import Response

from engine.contract import schemas as s
from engine.errors import EngineError, FeatureSetError, NotEnoughMemoryError
from engine.features.bound import BoundSet
from engine.features.feature_set import arrays_of
from engine.features.formats import load_feature_sets
from engine.features.hook_names import hook_of_point
from engine.features.layers import AnySet
from engine.features.places import Places
from engine.features.quality import Quality, measure
from engine.machine.memory import room_for
from engine.runs.footprint import in_words
from engine.server.errors import ForbiddenError, ImpossibleError, RequestError
from engine.server.http.prompts import check_all_lengths, prompt_tokens
from engine.server.http.requests import client, session
from engine.server.http.routes.models import as_known, permitted
from engine.server.http.steered import not_steered
from engine.server.http.sweeps import Report, Sweep
from engine.server.http.warnings import warnings
from engine.server.jobs.job import Job
from engine.server.service import Service
from engine.server.state.models import LoadedModel
from engine.taps.points import Point

HUB_FILES = ("*.json", "*.yaml", "*.safetensors", "*.npz")
WIDENED = 2
"""Bytes that a set takes for each in its files, at most: those of bfloat16 become float32."""


def load(service: Service, request: s.LoadFeaturesRequest) -> s.FeatureSetList:
    model = service.models.get(request.model)
    folder = _folder(service, request)
    places = _places(request)
    name = request.feature_set or Path(request.subfolder or request.features_path).name
    try:
        sets = service.worker.call(partial(_load, model, folder, places, name), client())
    except RequestError:
        raise
    except EngineError as error:
        known: dict[str, str | None] = {str(folder): request.subfolder or request.features_path}
        raise type(error)(as_known(str(error), known, service.settings)) from error
    return s.FeatureSetList(feature_sets=[_entry(model, each) for each in sets])


def list_sets(service: Service, model: str | None) -> s.FeatureSetList:
    models = service.models.all() if model is None else [service.models.get(model)]
    return s.FeatureSetList(
        feature_sets=[_entry(owner, each) for owner in models for each in owner.feature_sets.all()]
    )


def unload(service: Service, request: s.UnloadFeaturesRequest) -> s.UnloadedFeatures:
    model = service.models.get(request.model)
    hooks = model.hooks_on_features(model.feature_sets.get(request.feature_set))
    if hooks:
        raise ImpossibleError(
            f"feature_set: hooks are registered on it: {', '.join(hooks)}; remove them first",
            "feature_set",
        )
    model.feature_sets.remove(request.feature_set)
    service.worker.call(lambda job: mx.clear_cache(), client())
    return s.UnloadedFeatures(unloaded=request.feature_set)


def metrics(service: Service, request: s.FeatureMetricsRequest) -> dict[str, Any] | Response:
    model = service.models.get(request.model)
    bound = model.feature_sets.get(request.feature_set)
    check_all_lengths(request.prompts, service.settings, "prompts")
    sequences = [
        prompt_tokens(
            model, each, service.settings, f"prompts.{n}", special=request.add_special_tokens
        )
        for n, each in enumerate(request.prompts)
    ]

    def work(report: Report) -> Quality:
        return measure(
            model.kit,
            bound,
            sequences,
            exclude_special_tokens=request.exclude_special_tokens,
            progress=report,
        )

    notes = [*bound.feature_set.warnings, *not_steered(service, model, session())]
    told = warnings(model, max(map(len, sequences)), notes)
    sweep = Sweep(work, lambda quality: _reply(quality) | told)
    return sweep.answer(service, stream=request.stream, unit="runs")


def _load(
    model: LoadedModel, folder: Path, places: Places | None, name: str, job: Job
) -> list[BoundSet]:
    """Read the sets of a folder, and tie them to the model, unless the same request did before.
    For the generation thread."""
    source = folder, places, name
    if known := model.feature_sets.of_source(source):
        return known
    _check_room(folder)
    found = load_feature_sets(folder, places)
    ids = _ids(name, found)
    model.feature_sets.check_new(ids)
    structure = model.kit.structure
    sets = [BoundSet(set_id, each, structure) for set_id, each in zip(ids, found, strict=True)]
    mx.eval([arrays_of(each) for each in found])
    model.feature_sets.add(sets, source)
    return sets


def _ids(name: str, found: list[AnySet]) -> list[str]:
    if len(found) == 1:
        return [name]
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        names = [f"{each.name}_{number}" for number, each in enumerate(found)]
    return [f"{name}_{each}" for each in names]


def _check_room(folder: Path) -> None:
    files = (path for path in folder.rglob("*") if path.suffix in (".safetensors", ".npz"))
    needed = WIDENED * sum(path.stat().st_size for path in files if path.is_file())
    available = room_for(needed)
    if needed > available:
        raise NotEnoughMemoryError(
            f"the feature sets of {folder} need up to {in_words(needed)}, and "
            f"{in_words(available)} of memory are available: load one of its folders"
        )


def _folder(service: Service, request: s.LoadFeaturesRequest) -> Path:
    path, inside = request.features_path, Path(request.subfolder or ".")
    files = [str(inside / each) for each in HUB_FILES]
    root = Path(permitted(path, service.settings, "features_path", files)).resolve()
    folder = (root / inside).resolve()
    if not folder.is_relative_to(root):
        raise ForbiddenError(
            f"subfolder: {request.subfolder!r} is not inside of {path!r}.", "subfolder"
        )
    if not folder.is_dir():
        raise FeatureSetError(f"{path!r} has no folder {request.subfolder!r}")
    return folder


def _places(request: s.LoadFeaturesRequest) -> Places | None:
    if request.hook_name is not None:
        return Places.of_hooks(request.hook_name, request.hook_name_out)
    if request.hook_name_out is not None:
        raise ImpossibleError("hook_name_out: it goes with hook_name", "hook_name_out")
    return None


def _entry(model: LoadedModel, bound: BoundSet) -> s.FeatureSetEntry:
    whole = bound.feature_set
    reads, writes = _points(whole)
    return s.FeatureSetEntry(
        id=bound.set_id,
        model=model.id,
        architecture=whole.architecture,
        reads=[hook_of_point(each, whole.reads_before_norm_weight) for each in reads],
        writes=[
            hook_of_point(each, whole.reads_before_norm_weight and each in reads) for each in writes
        ],
        layers=[each.layer for each in reads],
        d_in=whole.d_in,
        d_out=whole.d_out,
        n_features=whole.n_features,
        bytes=bound.nbytes,
        metadata=dict(whole.metadata),
        warnings=list(whole.warnings),
    )


def _points(whole: AnySet) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    reads, writes = whole.reads, whole.writes
    if isinstance(reads, Point):
        return (reads,), (writes,)  # type: ignore[return-value]
    return reads, writes  # type: ignore[return-value]


def _reply(quality: Quality) -> dict[str, Any]:
    return {
        "positions": quality.positions,
        "predicted_tokens": quality.predicted,
        "layers": [asdict(each) for each in quality.layers],
        "loss": quality.loss,
        "loss_reconstructed": quality.loss_reconstructed,
        "loss_zero": quality.loss_zero,
        "loss_mean": quality.loss_mean,
        "loss_recovered": quality.loss_recovered,
        "loss_recovered_from_mean": quality.loss_recovered_from_mean,
    }
