"""One forward pass: logits, the likeliest next tokens, activations. Nothing is sampled."""

from dataclasses import replace
from typing import Any

import numpy as np

from engine.capture import CapturedActivation
from engine.components import ComponentType
from engine.contract import schemas as s
from engine.errors import CaptureTooLargeError, DuplicateHookError
from engine.forward import ForwardResult
from engine.forward import forward as engine_forward
from engine.hooks import resolve_hooks
from engine.server import inside
from engine.server.captures import new_capture
from engine.server.errors import ImpossibleError, LimitError
from engine.server.likeliest import likeliest
from engine.server.models import LoadedModel
from engine.server.prompts import checked, prompt_tokens
from engine.server.requests import client_gone
from engine.server.service import Service
from engine.server.wire import activations_json, record_json

LOGITS = "logits"
"""The hook id under which the pass's own logits are kept in its capture."""
BYTES = 4


def forward(service: Service, request: s.ForwardRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    batch = _batch(service, model, request)
    hooks = inside.hook_specs(request.activation_hooks)
    resolved = resolve_hooks(hooks, model.kit.structure)
    if request.logits != "none" and any(hook.hook_id == LOGITS for hook in resolved):
        raise DuplicateHookError(f"The hook id {LOGITS!r} belongs to the pass's own logits.")
    changes = inside.interventions(request.interventions, service.captures)
    wanted = "last" if request.logits == "none" and request.top_k else request.logits
    budget = service.captures.budget_bytes
    _check_logits(model, batch, wanted, budget)

    result = service.worker.call(
        lambda job: engine_forward(
            model.kit, batch, hooks, changes, logits=wanted, budget_bytes=budget
        ),
        client_gone(),
    )
    return _reply(service, model, batch, result, request)


def _reply(
    service: Service,
    model: LoadedModel,
    batch: list[list[int]],
    result: ForwardResult,
    request: s.ForwardRequest,
) -> dict[str, Any]:
    form = request.activation_format
    logits = None if request.logits == "none" else _logits_record(result)
    kept = {LOGITS: [logits]} if logits else {}
    capture = replace(new_capture(model.id), activations=result.activations | kept)
    service.captures.add(capture)
    return {
        "tokens": batch,
        "texts": [model.token_texts(tokens) for tokens in batch],
        "logits": record_json(logits, form) if logits else None,
        "top": _top(model, result.logits, request.top_k),
        "capture_id": capture.capture_id,
        "activations": activations_json(result.activations, form),
    }


def _batch(service: Service, model: LoadedModel, request: s.ForwardRequest) -> list[list[int]]:
    param, given = (
        ("prompt", request.prompt) if request.tokens is None else ("tokens", request.tokens)
    )
    settings = service.settings
    if isinstance(given, str) or not any(isinstance(part, list) for part in given):
        return [prompt_tokens(model, given, settings, param)]
    batch = [
        checked(model, tokens, settings, f"{param}.{index}") for index, tokens in enumerate(given)
    ]
    lengths = sorted({len(tokens) for tokens in batch})
    if len(lengths) > 1:
        raise ImpossibleError(
            f"{param}: sequences of a batch must have equal length; these have {lengths}.", param
        )
    if sum(map(len, batch)) > settings.max_batch_tokens:
        raise LimitError(
            f"{param} holds {sum(map(len, batch))} tokens in all; "
            f"at most {settings.max_batch_tokens} are taken.",
            param,
        )
    return batch


def _check_logits(model: LoadedModel, batch: list[list[int]], wanted: str, budget: int) -> None:
    positions = {"none": 0, "last": 1, "all": len(batch[0])}[wanted]
    size = len(batch) * positions * model.kit.info.vocab_size * BYTES
    if size > budget:
        raise CaptureTooLargeError(f"The logits take {size} bytes; the budget is {budget} bytes.")


def _logits_record(result: ForwardResult) -> CapturedActivation:
    length = len(result.tokens[0])
    return CapturedActivation(
        hook_id=LOGITS,
        layer_name=LOGITS,
        layer=None,
        component=ComponentType.LOGITS,
        step=0,
        positions=(length - result.logits.shape[1], length - 1),
        is_input=False,
        dtype="float32",
        data=result.logits,
    )


def _top(model: LoadedModel, logits: np.ndarray | None, count: int) -> list[list[dict]]:
    """For each sequence, the `count` likeliest next tokens, likeliest first."""
    if logits is None or count == 0:
        return []
    return [likeliest(model, row, count) for row in logits[:, -1]]
