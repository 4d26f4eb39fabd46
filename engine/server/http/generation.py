"""One generation that a request asks for: checked, then run, then described."""

import logging
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from engine.captures.hooks import ResolvedHook
from engine.captures.records import Activations
from engine.contract import schemas as s
from engine.interventions.intervention import Intervention
from engine.runs.generation import generate
from engine.runs.results import GenerationResult
from engine.runs.sampling import Sampling
from engine.server.errors import LimitError, UnavailableError
from engine.server.http import specs
from engine.server.http.collector import Collector
from engine.server.http.openai_format import Reply
from engine.server.http.requests import request_id
from engine.server.http.warnings import warnings
from engine.server.jobs.job import Job
from engine.server.service import Service

log = logging.getLogger(__name__)
LONG_PROMPT = 2048
"""Tokens from which the progress of a prompt is logged."""


Step = tuple[GenerationResult, Activations]


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
    label: dict[str, str]

    @classmethod
    def of(
        cls, service: Service, tokens: list[int], request: s.Sampling, reply: Reply
    ) -> "Generation":
        sampling = _sampling(service, request, reply)
        asked, interventions = (), ()
        if isinstance(request, s.Capturing):
            asked = specs.hook_specs(request.activation_hooks)
            interventions = specs.interventions(request.interventions, service.captures)
        hooks = reply.model.kit.hooks.hooks_for(asked)
        collector = Collector(service.captures, reply.model.id, request)
        label = {"request_id": request_id()}
        return cls(service, tokens, reply, collector, hooks, interventions, sampling, label)

    def run(self, job: Job[Step]) -> Generator[Step, None, None]:
        """Run it. For the generation thread."""
        return self.steps(job)

    def steps(self, job: Job, more: Sequence[Intervention] = ()) -> Generator[Step, None, None]:
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
            prompt_progress_callback=progress,
            budget_bytes=self.service.captures.budget_bytes,
        )

    def body(self, steps: Iterable[Step]) -> dict[str, Any]:
        """The whole reply; what was captured is kept."""
        results = [self.collector.collect(*step) for step in steps]
        if not results or results[-1].finish_reason is None:
            raise UnavailableError("The generation was cancelled: its client is gone.")
        return self.reply.body(results) | self.collector.keep() | self.warnings(results[-1])

    def warnings(self, last: GenerationResult) -> dict[str, list[str]]:
        """What the reply says of the worth of its numbers, once its last token is there."""
        return warnings(self.reply.model, last.prompt_tokens + last.completion_tokens)


def _sampling(service: Service, request: s.Sampling, reply: Reply) -> Sampling:
    max_tokens = getattr(request, "max_completion_tokens", None) or request.max_tokens
    most = service.settings.max_tokens
    if max_tokens > most:
        raise LimitError(f"max_tokens: {max_tokens} is more than {most}.", "max_tokens")
    options = {field.name: getattr(request, field.name) for field in OF_REQUESTS}
    bias = {int(token): each for token, each in (request.logit_bias or {}).items()}
    changed = {
        "max_tokens": max_tokens,
        "logit_bias": bias,
        "stop_strings": _stop_strings(request.stop),
        "top_logprobs": reply.top_logprobs or 0,
    }
    return Sampling(**(options | changed))


OF_REQUESTS = [field for field in fields(Sampling) if field.name in s.Sampling.model_fields]
"""The options of a generation that requests give by the same names."""


def _stop_strings(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())
