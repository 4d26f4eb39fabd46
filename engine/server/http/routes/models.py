"""Health, and the models: list, describe, load, unload."""

import gc
from pathlib import Path

import mlx.core as mx

from engine.contract import schemas as s
from engine.contract.openapi import API_VERSION
from engine.errors import EngineError
from engine.models.loading import HUB_ID
from engine.models.smollm2 import NAME as PULLED
from engine.server.errors import ForbiddenError, RequestError
from engine.server.service import Service
from engine.server.state.settings import Settings


def health(service: Service) -> s.Health:
    loaded = service.models.all()
    loading, ready = service.models.loading, service.worker.ready
    return s.Health(
        status="loading" if loading else "ok" if ready else "failed",
        version=service.settings.version,
        api_version=API_VERSION,
        model=loaded[-1].id if loaded else None,
        ready=ready and not loading,
        queue_depth=service.worker.queue_depth,
    )


def list_models(service: Service) -> s.ModelList:
    return s.ModelList(data=[model.entry for model in service.models.all()])


def retrieve_model(service: Service, model_id: str) -> s.ModelEntry:
    return service.models.get(model_id).entry


def load_model(service: Service, request: s.LoadModelRequest) -> s.ModelEntry:
    path = permitted(request.model_path, service.settings)
    wanted = request.model_copy(update={"model_path": path})
    try:
        return service.worker.call(lambda job: service.models.load(wanted)).entry
    except RequestError:
        raise
    except EngineError as error:
        told = _as_known(str(error), request.model_path, path, service.settings)
        raise type(error)(told) from error


def unload_model(service: Service, request: s.UnloadModelRequest) -> s.UnloadModelResponse:
    service.models.unload(request.model)
    service.worker.call(lambda job: _free())
    return s.UnloadModelResponse(unloaded=request.model)


def permitted(model_path: str, settings: Settings) -> str:
    """What a client may load by this path: a pulled model by its name, a folder that really lies
    below an allowed root, a hub id where those are allowed. Raises ForbiddenError."""
    folder = Path(model_path).resolve()
    if model_path == PULLED:
        return model_path
    if any(folder.is_relative_to(root.resolve()) for root in settings.model_roots):
        return str(folder)
    if settings.allow_hub and HUB_ID.fullmatch(model_path):
        return model_path
    raise ForbiddenError(
        f"model_path: {model_path!r} is not below a folder that this server allows; "
        "allow one by --model-root.",
        "model_path",
    )


def _as_known(message: str, given: str, path: str, settings: Settings) -> str:
    """A message without what it says of where this server's folders are."""
    message = message.replace(path, given)
    for root in sorted(map(str, (each.resolve() for each in settings.model_roots)), key=len):
        message = message.replace(f"{root}/", "")
    return message


def _free() -> None:
    gc.collect()
    mx.clear_cache()
