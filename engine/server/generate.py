"""One generation: queued, run on the generation thread, its results read by the web thread."""

import logging
from collections.abc import Generator
from typing import Any

from engine.captures.hooks import resolve_hooks
from engine.captures.records import Activations
from engine.contract.schemas import Capturing, Sampling
from engine.runs.generation import GenerationResult, create_generator_with_activations
from engine.server import inside
from engine.server.errors import LimitError
from engine.server.job import Job
from engine.server.models import LoadedModel
from engine.server.requests import client_gone, request_id
from engine.server.service import Service

log = logging.getLogger(__name__)
LONG_PROMPT = 2048
"""Tokens from which the progress of a prompt is logged."""


def submit(
    service: Service, model: LoadedModel, tokens: list[int], request: Sampling, top_logprobs: int
) -> Job[tuple[GenerationResult, Activations]]:
    """Queue the generation that a request asks for; unknown hooks are refused here."""
    options = _sampling(service, request) | {"top_logprobs": top_logprobs}
    hooks = tuple(model.hooks.values())
    if isinstance(request, Capturing):
        hooks += inside.hook_specs(request.activation_hooks)
        options["interventions"] = inside.interventions(request.interventions, service.captures)
    resolve_hooks(hooks, model.kit.structure)
    label = {"request_id": request_id()}

    def work(job: Job) -> Generator[tuple[GenerationResult, Activations], None, None]:
        def progress(done: int, total: int) -> None:
            job.checkpoint()
            if total > LONG_PROMPT:
                log.info("prompt: %d of %d tokens", done, total, extra=label)

        return create_generator_with_activations(
            model.kit,
            tokens,
            hooks,
            prompt_progress_callback=progress,
            budget_bytes=service.captures.budget_bytes,
            **options,
        )

    return service.worker.submit(work, client_gone())


def _sampling(service: Service, request: Sampling) -> dict[str, Any]:
    max_tokens = getattr(request, "max_completion_tokens", None) or request.max_tokens
    most = service.settings.max_tokens
    if max_tokens > most:
        raise LimitError(f"max_tokens: {max_tokens} is more than {most}.", "max_tokens")
    return {
        "max_tokens": max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "min_p": request.min_p,
        "seed": request.seed,
        "stop_strings": _stop_strings(request.stop),
        "repetition_penalty": request.repetition_penalty,
        "logit_bias": {int(token): bias for token, bias in (request.logit_bias or {}).items()},
    }


def _stop_strings(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())
