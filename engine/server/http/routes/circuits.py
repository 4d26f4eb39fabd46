"""How much each part of a model matters to a behaviour."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from engine.analysis.ablation import Ablation
from engine.analysis.circuits import Effects, Scores, patch_effects, patch_sets
from engine.analysis.parts import CircuitPart
from engine.analysis.task import Task
from engine.analysis.verification import verify_circuit
from engine.contract import schemas as s
from engine.server.errors import ImpossibleError
from engine.server.http.prompts import check_vocabulary, prompt_tokens, single_token
from engine.server.http.requests import client
from engine.server.http.warnings import warnings
from engine.server.jobs.job import Job
from engine.server.service import Service
from engine.server.state.models import LoadedModel

Progress = Callable[[int, int], None]
Result = TypeVar("Result")
PLACES = ("component", "layers", "heads", "neurons", "positions")


def patch(service: Service, request: s.CircuitPatchRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    tasks = _tasks(service, model, request)
    how: dict[str, Any] = {
        "method": request.method,
        "direction": request.direction,
        "ablation": _ablation(service, model, request),
    }
    if request.sets is not None:
        _check_unplaced(request)
        sets = [_parts(each) for each in request.sets]
        found = _work(service, lambda p: patch_sets(model.kit, tasks, sets, **how, progress=p))
        nowhere = {"layers": None, "heads": None, "neurons": None, "positions": None}
        return nowhere | _scores(found) | _warnings(model, tasks)
    where = {name: getattr(request, name) for name in PLACES}
    swept: Effects = _work(
        service, lambda p: patch_effects(model.kit, tasks, **how, **where, progress=p)
    )
    return (
        {
            "layers": swept.layers,
            "heads": swept.heads,
            "neurons": swept.neurons,
            "positions": swept.positions,
        }
        | _scores(swept)
        | _warnings(model, tasks)
    )


def verify(service: Service, request: s.CircuitVerifyRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    tasks = _tasks(service, model, request)
    ablation = _ablation(service, model, request)
    found = _work(
        service,
        lambda p: verify_circuit(
            model.kit,
            tasks,
            _parts(request.circuit),
            ablation=ablation,
            subsets=request.subsets,
            seed=request.seed,
            progress=p,
        ),
    )
    reply = asdict(found) | {"incompleteness": found.incompleteness}
    return reply | _warnings(model, tasks)


def _work(service: Service, measure: Callable[[Progress], Result]) -> Result:
    """Run on the generation thread, with a checkpoint after each batch of passes."""

    def work(job: Job) -> Result:
        def progress(done: int, total: int) -> None:
            job.report(done, total, "passes")
            job.checkpoint()

        return measure(progress)

    return service.worker.call(work, client())


def _check_unplaced(request: s.CircuitPatchRequest) -> None:
    for name in PLACES:
        if name in request.model_fields_set and getattr(request, name) is not None:
            raise ImpossibleError(f"{name}: the sets say where; it is not given with them", name)


def _tasks(service: Service, model: LoadedModel, request: s.OverExamples) -> list[Task]:
    tasks = []
    for number, example in enumerate(request.all_examples()):
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
            [_one_token(model, token, names[name]) for token in getattr(example, name)]
            for name in ("answers", "distractors")
        )
        tasks.append(Task(clean, corrupted, answers, distractors, request.pooling))
    return tasks


def _one_token(model: LoadedModel, token: str | int, param: str) -> int:
    """The id of a token given by id, or by text that is one token, if need be behind a space."""
    number = token if isinstance(token, int) else single_token(model, token, param)
    check_vocabulary(model, [number], param)
    return number


def _ablation(
    service: Service, model: LoadedModel, request: s.CircuitPatchRequest | s.CircuitVerifyRequest
) -> Ablation | None:
    ablation = request.ablation
    if ablation is None:
        return None
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


def _warnings(model: LoadedModel, tasks: Sequence[Task]) -> dict[str, list[str]]:
    return warnings(model, max(len(task.clean) for task in tasks))


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
