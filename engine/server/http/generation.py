"""One generation that a request asks for: checked, then run, then described."""

import logging
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from engine.captures.hooks import ResolvedHook
from engine.captures.records import Activations
from engine.contract import schemas as s
from engine.contract.schemas import Capturing
from engine.interventions.intervention import Intervention
from engine.runs.generation import GenerationResult, generate
from engine.runs.sampling import Sampling
from engine.server.errors import LimitError, UnavailableError
from engine.server.http import specs
from engine.server.http.collector import Collector
from engine.server.http.openai_format import Reply
from engine.server.http.requests import request_id
from engine.server.jobs.job import Job
from engine.server.service import Service

log = logging.getLogger(__name__)
LONG_PROMPT = 2048
"""Tokens from which the progress of a prompt is logged."""


Steps = Iterable[tuple[GenerationResult, Activations]]


@dataclass(frozen=True)
class Generation:
    """A generation that can be run; what can be refused of it has been."""

    service: Service
    tokens: list[int]
    reply: Reply
    collector: Collector
    hooks: tuple[ResolvedHook, ...]
    interventions: tuple[Intervention, ...]
    sampling: Sampling
    stop_strings: tuple[str, ...]
    label: dict[str, str]

    @classmethod
    def of(
        cls, service: Service, tokens: list[int], request: s.Sampling, reply: Reply
    ) -> "Generation":
        asked, interventions = (), ()
        if isinstance(request, Capturing):
            asked = specs.hook_specs(request.activation_hooks)
            interventions = specs.interventions(request.interventions, service.captures)
        return cls(
            service,
            tokens,
            reply,
            Collector(service.captures, reply.model.id, request),
            reply.model.kit.hooks.hooks_for(asked),
            interventions,
            _sampling(service, request, reply),
            _stop_strings(request.stop),
            {"request_id": request_id()},
        )

    def steps(
        self, job: Job, more: Sequence[Intervention] = ()
    ) -> Generator[tuple[GenerationResult, Activations], None, None]:
        """Run it, with `more` interventions after its own. For the generation thread."""

        def progress(done: int, total: int) -> None:
            job.checkpoint()
            if total > LONG_PROMPT:
                log.info("prompt: %d of %d tokens", done, total, extra=self.label)

        return generate(
            self.reply.model.kit,
            self.tokens,
            self.hooks,
            self.sampling,
            interventions=(*self.interventions, *more),
            stop_strings=self.stop_strings,
            prompt_progress_callback=progress,
            budget_bytes=self.service.captures.budget_bytes,
        )

    def body(self, steps: Steps) -> dict[str, Any]:
        """The whole reply; what was captured is kept."""
        results = [self.collector.collect(*step) for step in steps]
        if not results or results[-1].finish_reason is None:
            raise UnavailableError("The generation was cancelled: its client is gone.")
        return self.reply.body(results) | self.collector.keep()


def _sampling(service: Service, request: s.Sampling, reply: Reply) -> Sampling:
    """The options of the request that have the names of ours, and what it calls otherwise."""
    max_tokens = getattr(request, "max_completion_tokens", None) or request.max_tokens
    most = service.settings.max_tokens
    if max_tokens > most:
        raise LimitError(f"max_tokens: {max_tokens} is more than {most}.", "max_tokens")
    options = request.model_dump(include={field.name for field in fields(Sampling)})
    bias = {int(token): value for token, value in (request.logit_bias or {}).items()}
    return Sampling(
        **options
        | {
            "max_tokens": max_tokens,
            "logit_bias": bias,
            "top_logprobs": reply.top_logprobs or 0,
        }
    )


def _stop_strings(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())
