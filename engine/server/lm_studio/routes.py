"""The routes of LM Studio's REST interfaces, on the same service as ours."""

import platform
from contextlib import closing
from importlib.metadata import version
from time import perf_counter
from typing import Any

from flask import Blueprint, Response

from engine.contract import schemas as s
from engine.server.errors import ImpossibleError
from engine.server.http.requests import body_of, client
from engine.server.http.responses import answer, event_stream, named_event
from engine.server.http.routes import embeddings, generation
from engine.server.http.routes import models as model_routes
from engine.server.lm_studio import models
from engine.server.lm_studio.chat import Chat
from engine.server.lm_studio.schemas import ChatRequest, LoadRequest, UnloadRequest
from engine.server.service import Service
from engine.server.state.models import LoadedModel


def lm_studio(service: Service) -> Blueprint:
    """The routes under `/api/v0` and `/api/v1`."""
    routes = Blueprint("lm_studio", __name__, url_prefix="/api")
    settings = service.settings

    @routes.get("/v0/models")
    def list_v0() -> Response:
        loaded = [models.entry_v0(service, model) for model in service.models.all()]
        others = [models.folder_v0(folder) for folder in models.folders(service)]
        return answer({"object": "list", "data": loaded + others})

    @routes.get("/v0/models/<path:model_id>")
    def describe_v0(model_id: str) -> Response:
        for folder in models.folders(service):
            if folder.key == model_id:
                return answer(models.folder_v0(folder))
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
        return answer({"models": loaded + [models.folder_v1(f) for f in models.folders(service)]})

    @routes.post("/v1/models/load")
    def load_v1() -> Response:
        return answer(_load(service, body_of(LoadRequest, settings)))

    @routes.post("/v1/models/unload")
    def unload_v1() -> Response:
        request = body_of(UnloadRequest, settings)
        model_routes.unload_model(service, s.UnloadModelRequest(model=request.instance_id))
        return answer({"instance_id": request.instance_id})

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
    return answer(reply | _about(service, service.models.get(name)))


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
    paths = {folder.key: str(folder.path) for folder in models.folders(service)}
    before = {model.id for model in service.models.all()}
    started = perf_counter()
    wanted = s.LoadModelRequest(model_path=paths.get(request.model, request.model))
    entry = model_routes.load_model(service, wanted)
    most = models.context_length(service, service.models.get(entry.id))
    try:
        models.check_context(request.context_length, most)
    except ImpossibleError:
        if entry.id not in before:
            model_routes.unload_model(service, s.UnloadModelRequest(model=entry.id))
        raise
    reply: dict[str, Any] = {
        "type": "llm",
        "instance_id": entry.id,
        "load_time_seconds": perf_counter() - started,
        "status": "loaded",
    }
    return reply | ({"load_config": {"context_length": most}} if request.echo_load_config else {})
