"""Steering vectors: computed, read, written; and registered, so that they act."""

import base64
from functools import partial

from engine.contract import schemas as s
from engine.server.errors import ImpossibleError
from engine.server.http.prompts import check_all_lengths, prompt_tokens
from engine.server.http.requests import client, session
from engine.server.http.steered import entries
from engine.server.identifiers import new_id
from engine.server.jobs.job import Job
from engine.server.service import Service
from engine.server.state.models import LoadedModel
from engine.server.state.steering import Registered
from engine.steering.acting import Steering
from engine.steering.contrast import contrast_vector
from engine.steering.files import WRITERS, FileFormat, from_file
from engine.steering.vector import SteeringVector


def compute(service: Service, request: s.SteeringVectorRequest) -> s.SteeringVectorEntry:
    model = service.models.get(request.model)
    service.steering.check_new(request.name)
    pairs = _pairs(service, model, request)

    def work(job: Job) -> SteeringVector:
        return contrast_vector(
            model.kit,
            pairs,
            method=request.method,
            layers=request.layers,
            position=request.position,
            progress=partial(_tell, job),
        )

    vector = service.worker.call(work, client())
    return _entry(service.steering.keep(vector, request.name), vector)


def import_vector(
    service: Service, request: s.ImportSteeringVectorRequest
) -> s.SteeringVectorEntry:
    try:
        body = base64.b64decode(request.data_base64, validate=True)
    except ValueError as error:
        raise ImpossibleError(f"data_base64: {error}", "data_base64") from None
    vector = from_file(body)
    return _entry(service.steering.keep(vector, request.name), vector)


def list_vectors(service: Service) -> s.SteeringVectorList:
    kept = service.steering.vectors()
    return s.SteeringVectorList(vectors=[_entry(name, vector) for name, vector in kept.items()])


def describe(service: Service, vector: str) -> s.SteeringVectorEntry:
    return _entry(vector, service.steering.vector(vector))


def read_file(service: Service, vector: str, format: FileFormat | None) -> s.SteeringVectorFile:
    written = format or "safetensors"
    body = WRITERS[written](service.steering.vector(vector))
    return s.SteeringVectorFile(
        vector=vector, format=written, data_base64=base64.b64encode(body).decode("ascii")
    )


def forget(service: Service, vector: str) -> s.DeletedSteeringVector:
    service.steering.forget(vector)
    return s.DeletedSteeringVector(vector=vector)


def register(service: Service, request: s.RegisterSteeringRequest) -> s.SteeringEntry:
    model = service.models.get(request.model)
    vector = service.steering.vector(request.vector)
    steering = _steering(vector, request)
    steering.check(model.kit.structure)
    of_session = session()
    if request.scope == "session" and of_session is None:
        raise ImpossibleError("scope: this request has no header X-Session-Id.", "scope")
    registered = Registered(
        request.steering_id or f"steering-{new_id()[:12]}",
        request.vector,
        model.id,
        steering,
        of_session if request.scope == "session" else None,
    )
    service.steering.register(registered)
    (entry,) = entries([registered])
    return entry


def list_steering(service: Service, model: str | None) -> s.SteeringList:
    return s.SteeringList(steering=entries(service.steering.registered(session(), model)))


def remove(service: Service, steering_id: str) -> s.RemovedSteering:
    service.steering.remove(steering_id, session())
    return s.RemovedSteering(removed_steering=[steering_id])


def remove_all(service: Service, model: str | None) -> s.RemovedSteering:
    found = [each.steering_id for each in service.steering.registered(session(), model)]
    for steering_id in found:
        service.steering.remove(steering_id, session())
    return s.RemovedSteering(removed_steering=found)


def _pairs(
    service: Service, model: LoadedModel, request: s.SteeringVectorRequest
) -> list[tuple[list[int], list[int]]]:
    texts = [text for pair in request.pairs for text in (pair.positive, pair.negative)]
    check_all_lengths(texts, service.settings, "pairs")
    tokens = [
        prompt_tokens(
            model,
            text,
            service.settings,
            f"pairs.{place // 2}.{'negative' if place % 2 else 'positive'}",
            special=request.add_special_tokens,
        )
        for place, text in enumerate(texts)
    ]
    return list(zip(tokens[::2], tokens[1::2], strict=True))


def _steering(vector: SteeringVector, request: s.RegisterSteeringRequest) -> Steering:
    if request.operation == "ablation":
        for name in ("strength", "strengths"):
            if getattr(request, name) is not None:
                raise ImpossibleError(f"{name}: an ablation takes a direction out, wholly", name)
        return Steering.ablating(vector, request.of_layer, request.positions)
    if request.of_layer is not None:
        raise ImpossibleError("of_layer: only an ablation takes the direction of one", "of_layer")
    if request.strengths is None:
        strength = 1.0 if request.strength is None else request.strength
        return Steering.adding(vector, dict.fromkeys(vector.layers, strength), request.positions)
    if request.strength is not None:
        raise ImpossibleError("strength: give strength or strengths, not both", "strength")
    strengths = {each.layer: each.strength for each in request.strengths}
    if len(strengths) < len(request.strengths):
        raise ImpossibleError("strengths: a layer is named twice", "strengths")
    return Steering.adding(vector, strengths, request.positions)


def _tell(job: Job, done: int, total: int) -> None:
    job.report(done, total, "texts")
    job.checkpoint()


def _entry(name: str, vector: SteeringVector) -> s.SteeringVectorEntry:
    return s.SteeringVectorEntry(
        vector=name,
        width=vector.width,
        directions=[
            s.SteeringDirection(layer=layer, norm=vector.norm(layer)) for layer in vector.layers
        ],
        architecture=vector.architecture,
        about=dict(vector.about),
    )
