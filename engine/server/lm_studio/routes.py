"""The routes of LM Studio's REST interfaces, on the same service as ours."""

import platform
from contextlib import closing
from importlib.metadata import version
from time import perf_counter
from typing import Any

from flask import Blueprint, Response

from engine.contract import schemas as s
from engine.models.loading import HUB_ID
from engine.server.errors import ImpossibleError, UnknownModelError
from engine.server.http.requests import body_of, client
from engine.server.http.responses import answer, event_stream, named_event
from engine.server.http.routes import embeddings, generation
from engine.server.http.routes import models as model_routes
from engine.server.lm_studio import downloads, models
from engine.server.lm_studio.chat import Chat
from engine.server.lm_studio.schemas import (
    ChatRequest,
    DownloadRequest,
    LoadRequest,
    UnloadRequest,
)
from engine.server.service import Service
from engine.server.state.library import find
from engine.server.state.models import LoadedModel


def lm_studio(service: Service) -> Blueprint:
    """The routes under `/api/v0` and `/api/v1`."""
    routes = Blueprint("lm_studio", __name__, url_prefix="/api")
    settings = service.settings

    @routes.get("/v0/models")
    def list_v0() -> Response:
        loaded = [models.entry_v0(service, model) for model in service.models.all()]
        others = [models.stored_v0(stored) for stored in models.not_loaded(service)]
        return answer({"object": "list", "data": loaded + others})

    @routes.get("/v0/models/<path:model_id>")
    def describe_v0(model_id: str) -> Response:
        for stored in models.not_loaded(service):
            if stored.key == model_id:
                return answer(models.stored_v0(stored))
        return answer(models.entry_v0(service, service.models.get(model_id)))

    @routes.post("/v0/completions")
    def complete_v0() -> Response:
        request = body_of(s.CompletionRequest, settings)
        return _with_model(service, request.model, generation.complete(service, request))

    @routes.post("/v0/chat/completions")
    def chat_v0() -> Response:
        request = body_of(s.ChatCompletionRequest, settings)
        return _with_model(service, request.model, generation.chat(service, request))

    @routes.post("/v0/embeddings")
    def embed_v0() -> Response:
        return answer(embeddings.embed(service, body_of(s.EmbeddingsRequest, settings)))

    @routes.get("/v1/models")
    def list_v1() -> Response:
        loaded = [models.entry_v1(service, model) for model in service.models.all()]
        others = [models.stored_v1(stored) for stored in models.not_loaded(service)]
        return answer({"models": loaded + others})

    @routes.post("/v1/models/load")
    def load_v1() -> Response:
        return answer(_load(service, body_of(LoadRequest, settings)))

    @routes.post("/v1/models/unload")
    def unload_v1() -> Response:
        request = body_of(UnloadRequest, settings)
        model_routes.unload_model(service, s.UnloadModelRequest(model=request.instance_id))
        return answer({"instance_id": request.instance_id})

    @routes.post("/v1/models/download")
    def download_v1() -> Response:
        return answer(downloads.begin(service, body_of(DownloadRequest, settings)))

    @routes.get("/v1/models/download/status/<job_id>")
    def download_status_v1(job_id: str) -> Response:
        return answer(downloads.status(service, job_id))

    @routes.post("/v1/chat")
    def chat_v1() -> Response:
        request = body_of(ChatRequest, settings)
        chat = Chat(service, request)
        job = service.worker.submit(chat.choices.run, client())
        if request.stream:
            return event_stream(chat.events(job), job, named_event)
        with closing(job):
            return answer(chat.reply(chat.choices.body(job)))

    return routes


def _with_model(service: Service, name: str | None, reply: generation.Answer) -> Response:
    """A reply of ours with what version 0 tells of the model; a stream as it is."""
    if isinstance(reply, Response):
        return reply
    return answer(reply | _about(service, model_routes.requested_model(service, name)))


def _about(service: Service, model: LoadedModel) -> dict[str, Any]:
    return {
        "model_info": {
            "arch": model.kit.info.architecture or "",
            "quant": models.quantization(model),
            "format": "mlx",
            "context_length": models.context_length(service, model),
        },
        "runtime": {
            "name": f"mlx-{platform.system().lower()}-{platform.machine()}",
            "version": version("mlx"),
            "supported_formats": ["mlx"],
        },
    }


def _load(service: Service, request: LoadRequest) -> dict[str, Any]:
    before, started = service.models.all(), perf_counter()
    stored = find(service.settings, request.model)
    loaded = stored and service.models.of_folder(stored.folder)
    if stored and not loaded:
        step = request.eval_batch_size
        loaded = model_routes.load_stored(service, stored, request.context_length, step)
    elif not loaded:
        loaded = _known_or_fetched(service, request)
    try:
        _check(service, request, loaded)
    except ImpossibleError:
        if loaded not in before:
            model_routes.unload_model(service, s.UnloadModelRequest(model=loaded.id))
        raise
    reply: dict[str, Any] = {
        "type": "llm",
        "instance_id": loaded.id,
        "load_time_seconds": perf_counter() - started,
        "status": "loaded",
    }
    told = {"load_config": models.load_config(service, loaded)}
    return reply | (told if request.echo_load_config else {})


def _known_or_fetched(service: Service, request: LoadRequest) -> LoadedModel:
    """A model that is loaded under this id, or one of the hub, which is fetched if clients may."""
    try:
        return service.models.get(request.model)
    except UnknownModelError:
        wanted = s.LoadModelRequest(
            model_path=request.model,
            model_id=request.model if HUB_ID.fullmatch(request.model) else None,
            context_length=request.context_length,
            prefill_step_size=request.eval_batch_size,
        )
    return service.models.get(model_routes.load_model(service, wanted).id)


def _check(service: Service, request: LoadRequest, model: LoadedModel) -> None:
    """Raise ImpossibleError for what the loaded model does not have as the request wants it."""
    known = models.load_config(service, model)
    experts = models.chosen_experts(model)
    if request.num_experts not in (None, experts):
        has = "has no experts" if experts is None else f"chooses {experts} for each token"
        raise ImpossibleError(
            f"num_experts: {request.num_experts}; {model.id} {has}.", "num_experts"
        )
    for name, value in known.items():
        asked = getattr(request, name)
        if asked not in (None, value):
            raise ImpossibleError(
                f"{name}: {asked}; {model.id} is loaded with {value}; unload it first.", name
            )
