"""How much each part of a model matters to a behaviour."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from flask import Response

from engine.analysis.ablation import Ablation
from engine.analysis.circuits import Effects, Scores, patch_effects, patch_sets
from engine.analysis.parts import CircuitPart
from engine.analysis.task import Task
from engine.analysis.verification import Verification, verify_circuit
from engine.contract import schemas as s
from engine.server.errors import ImpossibleError
from engine.server.http.prompts import (
    check_all_lengths,
    one_token,
    prompt_tokens,
)
from engine.server.http.requests import session
from engine.server.http.steered import not_steered
from engine.server.http.sweeps import Report, Sweep
from engine.server.http.warnings import warnings
from engine.server.service import Service
from engine.server.state.models import LoadedModel

Answer = dict[str, Any] | Response
PLACES = ("component", "layers", "heads", "neurons", "positions")


def patch(service: Service, request: s.CircuitPatchRequest) -> Answer:
    model = service.models.get(request.model)
    tasks = _tasks(service, model, request)
    how: dict[str, Any] = {
        "method": request.method,
        "direction": request.direction,
        "ablation": _ablation(service, model, request),
    }
    told = _warnings(service, model, tasks)
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
    tasks = _tasks(service, model, request)
    ablation = _ablation(service, model, request)
    told = _warnings(service, model, tasks)

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


def _tasks(service: Service, model: LoadedModel, request: s.OverExamples) -> list[Task]:
    tasks = []
    examples = request.all_examples()
    texts = [text for each in examples for text in (each.clean, each.corrupted)]
    check_all_lengths(texts, service.settings, "examples")
    for number, example in enumerate(examples):
        names = {name: f"examples.{number}.{name}" for name in type(example).model_fields}
        if request.examples is None:
            names = {name: name.removesuffix("s") for name in names}
        clean, corrupted = (
            prompt_tokens(
                model,
                getattr(example, name),
                service.settings,
                names[name],
                special=request.add_special_tokens,
            )
            for name in ("clean", "corrupted")
        )
        answers, distractors = (
            [one_token(model, token, names[name]) for token in getattr(example, name)]
            for name in ("answers", "distractors")
        )
        tasks.append(Task(clean, corrupted, answers, distractors, request.pooling))
    return tasks


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


def _warnings(service: Service, model: LoadedModel, tasks: Sequence[Task]) -> dict[str, list[str]]:
    longest = max(len(task.clean) for task in tasks)
    return warnings(model, longest, not_steered(service, model, session()))


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
        "effects": _tensor(found.effects),
        "scores": _tensor(found.scores.astype(np.float32)),
    }


def _tensor(array: np.ndarray) -> dict[str, Any]:
    return {
        "shape": list(array.shape),
        "dtype": "float32",
        "byte_order": "little",
        "data": array,
    }
