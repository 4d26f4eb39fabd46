"""How much each part of a model matters to a behaviour."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from flask import Response

from engine.analysis.ablation import Ablation
from engine.analysis.circuits import Effects, Scores, patch_effects, patch_sets
from engine.analysis.parts import CircuitPart
from engine.analysis.verification import Verification, verify_circuit
from engine.contract import schemas as s
from engine.server.errors import ImpossibleError
from engine.server.http.prompts import check_all_lengths, prompt_tokens
from engine.server.http.sweeps import Report, Sweep
from engine.server.http.tasks import tasks_of, tensor, warnings_over
from engine.server.service import Service
from engine.server.state.models import LoadedModel

Answer = dict[str, Any] | Response
PLACES = ("component", "layers", "heads", "neurons", "positions")


def patch(service: Service, request: s.CircuitPatchRequest) -> Answer:
    model = service.models.get(request.model)
    tasks = tasks_of(service, model, request)
    how: dict[str, Any] = {
        "method": request.method,
        "direction": request.direction,
        "ablation": _ablation(service, model, request),
    }
    told = warnings_over(service, model, tasks)
    sweep: Sweep[Any]
    if request.sets is not None:
        _check_unplaced(request)
        sets = [_parts(each) for each in request.sets]
        nowhere = {"layers": None, "heads": None, "neurons": None, "positions": None}
        sweep = Sweep(
            lambda report: patch_sets(model.kit, tasks, sets, **how, progress=report),
            lambda found: nowhere | _scores(found) | told,
        )
    else:
        where = {name: getattr(request, name) for name in PLACES}
        sweep = Sweep(
            lambda report: patch_effects(model.kit, tasks, **how, **where, progress=report),
            lambda found: _places(found) | _scores(found) | told,
        )
    return sweep.answer(service, stream=request.stream, unit="passes")


def verify(service: Service, request: s.CircuitVerifyRequest) -> Answer:
    model = service.models.get(request.model)
    tasks = tasks_of(service, model, request)
    ablation = _ablation(service, model, request)
    told = warnings_over(service, model, tasks)

    def measure(report: Report) -> Verification:
        return verify_circuit(
            model.kit,
            tasks,
            _parts(request.circuit),
            ablation=ablation,
            subsets=request.subsets,
            seed=request.seed,
            progress=report,
        )

    def reply(found: Verification) -> dict[str, Any]:
        return asdict(found) | {"incompleteness": found.incompleteness} | told

    return Sweep(measure, reply).answer(service, stream=request.stream, unit="passes")


def _check_unplaced(request: s.CircuitPatchRequest) -> None:
    for name in PLACES:
        if name in request.model_fields_set and getattr(request, name) is not None:
            raise ImpossibleError(f"{name}: the sets say where; it is not given with them", name)


def _ablation(
    service: Service, model: LoadedModel, request: s.CircuitPatchRequest | s.CircuitVerifyRequest
) -> Ablation | None:
    ablation = request.ablation
    if ablation is None:
        return None
    check_all_lengths(ablation.references or (), service.settings, "ablation.references")
    references = (
        None
        if ablation.references is None
        else [
            prompt_tokens(
                model,
                prompt,
                service.settings,
                f"ablation.references.{number}",
                special=request.add_special_tokens,
            )
            for number, prompt in enumerate(ablation.references)
        ]
    )
    return Ablation(ablation.kind, references, ablation.over, ablation.samples, ablation.seed)


def _parts(parts: Sequence[s.CircuitPart]) -> list[CircuitPart]:
    return [
        CircuitPart(
            part.layer,
            part.component,
            part.head,
            part.neuron,
            None if part.positions is None else tuple(part.positions),
        )
        for part in parts
    ]


def _places(found: Effects) -> dict[str, Any]:
    return {
        "layers": found.layers,
        "heads": found.heads,
        "neurons": found.neurons,
        "positions": found.positions,
    }


def _scores(found: Scores) -> dict[str, Any]:
    return {
        "clean_score": found.clean_score,
        "corrupted_score": found.corrupted_score,
        "clean_scores": found.clean_scores,
        "corrupted_scores": found.corrupted_scores,
        "effects": tensor(found.effects),
        "scores": tensor(found.scores.astype(np.float32)),
    }
