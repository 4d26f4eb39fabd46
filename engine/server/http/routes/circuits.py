"""What each part of a model matters to a task."""

from engine.analysis.circuits import Task, patch_effects
from engine.contract import schemas as s
from engine.server.errors import ImpossibleError
from engine.server.http.prompts import check_vocabulary, prompt_tokens
from engine.server.http.requests import client_gone
from engine.server.jobs.job import Job
from engine.server.service import Service
from engine.server.state.models import LoadedModel


def patch(service: Service, request: s.CircuitPatchRequest) -> dict:
    model = service.models.get(request.model)
    clean, corrupted = (
        prompt_tokens(model, getattr(request, name), service.settings, name)
        for name in ("clean", "corrupted")
    )
    answer, distractor = (
        _one_token(model, getattr(request, name), name) for name in ("answer", "distractor")
    )

    def work(job: Job):
        return patch_effects(
            model.kit,
            Task(clean, corrupted, answer, distractor),
            component=request.component,
            method=request.method,
            direction=request.direction,
            layers=request.layers,
            positions=request.positions,
            progress=lambda done, total: job.checkpoint(),
        )

    found = service.worker.call(work, client_gone())
    return {
        "clean_score": found.clean_score,
        "corrupted_score": found.corrupted_score,
        "layers": found.layers,
        "heads": found.heads,
        "positions": found.positions,
        "effects": {
            "shape": list(found.effects.shape),
            "dtype": "float32",
            "byte_order": "little",
            "data": found.effects,
        },
    }


def _one_token(model: LoadedModel, token: str | int, param: str) -> int:
    """The id of a token given by id, or by the text that it alone stands for."""
    if isinstance(token, str):
        with model.lock:
            tokens = model.kit.tokenizer.encode(token, add_special_tokens=False)
        if len(tokens) != 1:
            texts = model.token_texts(tokens)
            raise ImpossibleError(
                f"{param}: {token!r} is {len(tokens)} tokens, {texts}; one is needed", param
            )
        token = tokens[0]
    check_vocabulary(model, [token], param)
    return token
