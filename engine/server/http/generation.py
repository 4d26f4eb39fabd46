"""One generation that a request asks for: checked, then run."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial

from engine.captures.hooks import HookSpec, ResolvedHook
from engine.contract import schemas as s
from engine.interventions.intervention import AnyIntervention
from engine.runs.footprint import of_records
from engine.runs.generation import generate
from engine.runs.grammars import CompiledGrammar
from engine.runs.results import Generated
from engine.runs.run import Run
from engine.runs.sampling import Sampling
from engine.runs.scoring import Scores, score
from engine.runs.thinking import ThinkingMarkers
from engine.server.errors import LimitError
from engine.server.http import specs
from engine.server.http.drafts import draft_model
from engine.server.http.prompts import Prompt
from engine.server.http.requests import request_id, session
from engine.server.http.steered import steered
from engine.server.jobs.job import Job
from engine.server.service import Service
from engine.server.state.models import LoadedModel
from engine.server.state.steering import Steered

log = logging.getLogger(__name__)
LONG_PROMPT = 2048
"""Tokens from which the progress of a prompt is logged."""
PROMPT_PASS = 512
"""Tokens of a prompt that go through the model at once: each layer of them is soon done."""
UNTIL_THE_END = -1
"""As `max_tokens`: no limit but those of the context and of the server."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Generation:
    """A generation that can be run; what can be refused of it has been.

    Where `top_scores` is not None the prompt is scored first, with so many of the likeliest tokens
    in each one's place. With a `sampling` of no tokens that is all, and its pass is captured.
    `not_captured` says why the registered hooks capture nothing of it, if that is so. What it is
    `steered` by changes a value before its own `interventions` do.
    """

    service: Service
    model: LoadedModel
    prompt: Prompt
    hooks: tuple[ResolvedHook, ...]
    interventions: tuple[AnyIntervention, ...]
    sampling: Sampling
    top_scores: int | None
    label: dict[str, str]
    not_captured: str | None
    draft: LoadedModel | None
    steered: Steered

    @classmethod
    def of(
        cls,
        service: Service,
        model: LoadedModel,
        prompt: Prompt,
        request: s.Sampling,
        top_logprobs: int | None,
        choice: int = 0,
        grammar: CompiledGrammar | None = None,
    ) -> "Generation":
        """The generation of one choice of a prompt; `choice` counts them. A `grammar` holds from
        the end of the thinking on that the prompt has begun, if it has."""
        asked: tuple[HookSpec, ...] = ()
        interventions: tuple[AnyIntervention, ...] = ()
        if isinstance(request, s.Capturing):
            asked = specs.hook_specs(request.activation_hooks, model)
            interventions = specs.interventions(request.interventions, service.captures, model)
        most = _max_tokens(service, model, prompt, request)
        acting = steered(service, model)
        interventions = (*acting.interventions(model, most - 1), *interventions)
        registered = model.hooks_of(session())
        not_captured = None
        if not isinstance(request, s.Capturing):
            length = len(prompt.tokens) + (0 if request.max_tokens is None else most)
            not_captured = _too_large(model, registered.resolved, length, service)
        scores = top_logprobs if prompt.echo else None
        return cls(
            service,
            model,
            prompt,
            () if not_captured else registered.hooks_for(asked),
            interventions,
            _sampling(
                model,
                request,
                most,
                top_logprobs or 0,
                choice,
                _behind_thinking(model, prompt, grammar),
            ),
            scores if most else scores or 0,
            {"request_id": request_id()},
            not_captured,
            draft_model(service, model, request.draft_model),
            acting,
        )

    @property
    def generates(self) -> bool:
        """Whether there is a token to generate."""
        return self.sampling.max_tokens > 0

    def steps(self, job: Job, more: Sequence[AnyIntervention] = ()) -> Iterator[Generated]:
        """Each token, with `more` interventions after its own, which may let other jobs run. For
        the generation thread."""
        return generate(
            self.model.kit,
            self.prompt.tokens,
            self.hooks,
            self.sampling,
            interventions=(*self.interventions, *more),
            prompt_progress_callback=self._progress(job),
            budget_bytes=self.service.captures.budget_bytes,
        )

    def drafted(self, draft: LoadedModel, job: Job) -> Iterator[Generated]:
        """Each token, of those that a draft model proposes or in their place. For the generation
        thread."""
        return generate(
            self.model.kit,
            self.prompt.tokens,
            self.hooks,
            self.sampling,
            interventions=self.interventions,
            draft_model=draft.kit.model,
            prefixes=self.service.prefixes,
            prompt_progress_callback=self._progress(job),
            budget_bytes=self.service.captures.budget_bytes,
        )

    def begun(self, job: Job) -> Run:
        """It as a run, which can share its passes with others. For the generation thread."""
        return Run(
            self.model.kit,
            self.prompt.tokens,
            self.hooks,
            self.sampling,
            interventions=self.interventions,
            prefixes=self.service.prefixes,
            progress=partial(self._tell, job),
            budget_bytes=self.service.captures.budget_bytes,
        )

    def scores(self, job: Job) -> Scores | None:
        """The scores of the prompt, if it is to have any. For the generation thread."""
        if self.top_scores is None:
            return None
        return score(
            self.model.kit,
            self.prompt.tokens,
            () if self.generates else self.hooks,
            self.interventions,
            top_logprobs=self.top_scores,
            following=max(0, self.sampling.max_tokens - 1),
            budget_bytes=self.service.captures.budget_bytes,
            progress=self._progress(job),
        )

    def _progress(self, job: Job) -> Progress:
        def progress(done: int, total: int) -> None:
            job.checkpoint()
            self._tell(job, done, total)

        return progress

    def _tell(self, job: Job, done: int, total: int) -> None:
        job.report(done, total, "prompt tokens")
        if total > LONG_PROMPT:
            log.info("prompt: %d of %d tokens", done, total, extra=self.label)


def _too_large(
    model: LoadedModel, hooks: Sequence[ResolvedHook], length: int, service: Service
) -> str | None:
    """Why registered hooks capture nothing of a request that asked for no capture, which they must
    not make fail: they would pass the budget. None if they do not."""
    budget = service.captures.budget_bytes
    nbytes = of_records(model.kit.structure, hooks, 1, length)
    if nbytes <= budget:
        return None
    return (
        f"the registered hooks captured nothing: {nbytes} bytes of {length} positions would pass "
        f"the budget of {budget} bytes"
    )


def _behind_thinking(
    model: LoadedModel, prompt: Prompt, grammar: CompiledGrammar | None
) -> CompiledGrammar | None:
    markers = ThinkingMarkers.of(model.kit.tokenizer)
    if grammar is None or markers is None or not markers.are_open(prompt.tokens):
        return grammar
    return grammar.behind(markers.end)


def _sampling(
    model: LoadedModel,
    request: s.Sampling,
    max_tokens: int,
    top_logprobs: int,
    choice: int,
    grammar: CompiledGrammar | None,
) -> Sampling:
    options = {field.name: getattr(request, field.name) for field in OF_REQUESTS}
    bias = {int(token): each for token, each in (request.logit_bias or {}).items()}
    changed = {
        "max_tokens": max_tokens,
        "logit_bias": bias,
        "stop_strings": _stop_strings(request.stop),
        "top_logprobs": top_logprobs,
        "choice": choice,
        "prefill_step_size": PROMPT_PASS,
        "grammar": grammar,
    }
    if model.request.prefill_step_size is not None:
        changed["prefill_step_size"] = model.request.prefill_step_size
    return Sampling(**(options | changed))


def _max_tokens(service: Service, model: LoadedModel, prompt: Prompt, request: s.Sampling) -> int:
    """How many tokens a generation may have: as many as asked for, or as fit the context."""
    settings = service.settings
    field, asked = "max_completion_tokens", getattr(request, "max_completion_tokens", None)
    if asked is None:
        field, asked = "max_tokens", request.max_tokens
    if asked is not None and asked != UNTIL_THE_END:
        if asked > settings.max_tokens:
            raise LimitError(f"{field}: {asked} is more than {settings.max_tokens}.", field)
        _check_context(model, len(prompt.tokens), asked, field)
        return asked
    room = (model.context_length or settings.context_tokens) - len(prompt.tokens)
    return min(max(room, 1), settings.max_tokens)  # past the context the reply warns


def _check_context(model: LoadedModel, length: int, asked: int, field: str) -> None:
    """Raise LimitError for more positions than the model was loaded with."""
    most = model.request.context_length
    if most is not None and asked and length + asked > most:
        raise LimitError(
            f"{field}: {asked} after a prompt of {length} tokens is more than the "
            f"{most} positions that {model.id} was loaded with.",
            field,
        )


OF_REQUESTS = [field for field in fields(Sampling) if field.name in s.Sampling.model_fields]
"""The options of a generation that requests give by the same names."""


def _stop_strings(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())
