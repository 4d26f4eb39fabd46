"""The models: list, describe, load, unload."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from engine.contract import schemas as s
from engine.errors import EngineError
from engine.machine.memory import free_unused
from engine.models.adapter_folders import HUB_FILES as ADAPTER_FILES
from engine.models.loading import HUB_FILES as MODEL_FILES
from engine.models.loading import HUB_ID, from_hub
from engine.models.smollm2 import NAME as PULLED
from engine.server.errors import ForbiddenError, RequestError, UnknownModelError
from engine.server.http.requests import client, session
from engine.server.http.steered import entries
from engine.server.jobs.job import Job
from engine.server.service import Service
from engine.server.state.library import Stored, find
from engine.server.state.models import LoadedModel
from engine.server.state.settings import Settings


def list_models(service: Service) -> s.ModelList:
    return s.ModelList(data=[entry_of(service, model) for model in service.models.all()])


def retrieve_model(service: Service, model_id: str) -> s.ModelEntry:
    return entry_of(service, service.models.get(model_id))


def entry_of(service: Service, model: LoadedModel) -> s.ModelEntry:
    """A model, and what steers it for this request's client."""
    steering = entries(service.steering.registered(session(), model.id))
    return model.entry.model_copy(update={"steering": steering})


def load_model(service: Service, request: s.LoadModelRequest) -> s.ModelEntry:
    settings = service.settings
    changed = {"model_path": request.model_path}
    if request.model_path != PULLED:
        changed["model_path"] = permitted(request.model_path, settings, "model_path")
        changed["model_id"] = request.model_id or Path(request.model_path).name
    if request.adapter_path is not None:
        path = permitted(request.adapter_path, settings, "adapter_path", ADAPTER_FILES)
        changed["adapter_path"] = path
    wanted = request.model_copy(update=changed)

    def work(job: Job) -> LoadedModel:
        return service.models.load(wanted, partial(job.report, unit="weights"))

    try:
        return entry_of(service, service.worker.call(work, client()))
    except RequestError:
        raise
    except EngineError as error:
        paths = {path: getattr(request, name) for name, path in changed.items()}
        raise type(error)(as_known(str(error), paths, settings)) from error


def requested_model(
    service: Service, name: str | None, context_length: int | None = None
) -> LoadedModel:
    """The model that a request names, which is loaded first if it is in the library.

    `context_length` is for a model that is loaded now. Raises UnknownModelError, and what
    `load_model` raises.
    """
    try:
        return service.models.get(name)
    except UnknownModelError:
        stored = None if name is None else find(service.settings, name)
        if stored is None:
            raise
    return service.models.of_folder(stored.folder) or load_stored(service, stored, context_length)


def load_stored(
    service: Service,
    stored: Stored,
    context_length: int | None = None,
    prefill_step_size: int | None = None,
) -> LoadedModel:
    """Load a model of the library, under its key. Raises what `load_model` raises."""
    wanted = s.LoadModelRequest(
        model_path=stored.model_path,
        model_id=stored.key,
        context_length=context_length,
        prefill_step_size=prefill_step_size,
    )
    return service.models.get(load_model(service, wanted).id)


def unload_model(service: Service, request: s.UnloadModelRequest) -> s.UnloadModelResponse:
    service.debug_sessions.end_all_of(service.models.get(request.model))
    service.models.unload(request.model)
    service.worker.call(lambda job: free_unused(), client())
    return s.UnloadModelResponse(unloaded=request.model)


def permitted(path: str, settings: Settings, param: str, files: Sequence[str] = MODEL_FILES) -> str:
    """The folder that a client may load by this path: one that really lies below an allowed root,
    or where those are allowed that of a hub id, of which these files are fetched.

    A hub id never means a folder that happens to be where the server was started. Raises
    ForbiddenError, ModelNotFoundError.
    """
    folder = Path(path).resolve()
    is_id = settings.allow_hub and HUB_ID.fullmatch(path) is not None
    if is_id and not (_is_allowed(folder, settings) and os.path.isdir(folder)):
        return str(from_hub(path, files))
    return str(permitted_path(path, settings, param))


def permitted_path(path: str, settings: Settings, param: str = "lens.path") -> Path:
    """The file or folder that a client may have read by this path. Raises ForbiddenError."""
    found = Path(path).resolve()
    if not _is_allowed(found, settings):
        raise ForbiddenError(
            f"{param}: {path!r} is not below a folder that this server allows; "
            "allow one by --model-root.",
            param,
        )
    return found


def _is_allowed(path: Path, settings: Settings) -> bool:
    return any(path.is_relative_to(root.resolve()) for root in settings.model_roots)


def as_known(message: str, paths: dict[str, str | None], settings: Settings) -> str:
    """A message without what it says of where this server's folders are.

    `paths` are the folders that were found, and what the client called them.
    """
    for path, given in paths.items():
        message = message.replace(path, given or path)
    for root in sorted(map(str, (each.resolve() for each in settings.model_roots)), key=len):
        message = message.replace(f"{root}/", "")
    return message
