"""The choices of a reply: run together, and told whole or as they come."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.captures.records import Activations
from engine.contract import schemas as s
from engine.runs.messages import MessageParts, Parts
from engine.runs.results import Generated, GenerationResult
from engine.runs.scoring import Scores
from engine.runs.thinking import ThinkingCount
from engine.server.errors import ImpossibleError, LimitError, UnavailableError
from engine.server.http.collector import Collector
from engine.server.http.deltas import Delta, Deltas, PlacedCall, joined
from engine.server.http.drafts import DraftCount, draft_stats
from engine.server.http.forms import FREE, Form
from engine.server.http.generation import Generation
from engine.server.http.openai_format import Reply, usage
from engine.server.http.prompts import Prompt, check_total
from engine.server.http.stats import Stopwatch
from engine.server.http.steered import told as told_of_steering
from engine.server.http.warnings import warnings
from engine.server.jobs.job import Job
from engine.server.service import Service

Event = Scores | Generated


@dataclass
class Choice:
    """One choice: the generation that makes it, and what has been made of it so far.

    Where it is a `message`, that takes its text apart.
    """

    index: int
    generation: Generation
    collector: Collector
    deltas: Deltas
    message: MessageParts | None
    thinking: ThinkingCount
    parts: list[Delta] = field(default_factory=list)
    completion_tokens: int = 0
    cached_tokens: int = 0
    drafts: DraftCount = field(default_factory=DraftCount)
    finish_reason: str | None = None
    stop_reason: str = "maxPredictedTokensReached"

    def take(self, event: Event) -> tuple[Delta, Activations]:
        """The part that an event adds, and what was captured with it."""
        metrics = self.generation.service.metrics
        if not self.parts:
            metrics.prompted(len(self.generation.prompt.tokens))
        if isinstance(event, Scores):
            part, activations = self.deltas.scored(event.tokens), event.activations
            self.finish_reason = None if self.generation.generates else "length"
        else:
            metrics.generated()
            result, activations = event
            if result.completion_tokens == 1:
                self.cached_tokens = result.cached_tokens
                metrics.begun(result.cached_tokens)
            self.drafts.add(result)
            self.thinking.add(result.token)
            self.finish_reason = result.finish_reason
            self.completion_tokens = result.completion_tokens
            if result.finish_reason == "stop":
                ended = result.token in self.generation.model.kit.tokenizer.eos_token_ids
                self.stop_reason = "eosFound" if ended else "stopStringFound"
            part = self._taken_apart(self.deltas.generated(result), result)
        self.collector.collect(activations)
        self.parts.append(part)
        return part, activations

    def _taken_apart(self, part: Delta, result: GenerationResult) -> Delta:
        """A part of the text as one of the message, if it is one."""
        message = self.message
        if message is None:
            return part
        first = message.called
        parts: Parts = message.add(part.text)
        if result.finish_reason is not None:
            is_whole = result.finish_reason == "stop"
            parts += message.finish(is_whole=is_whole)
            if is_whole and message.called:
                self.finish_reason = "tool_calls"
        calls = tuple(PlacedCall(at, call) for at, call in enumerate(parts.calls, first))
        return Delta(parts.text, part.tokens, parts.reasoning, calls)

    @property
    def positions(self) -> int:
        """Tokens of the prompt and of the text."""
        return len(self.generation.prompt.tokens) + self.completion_tokens


class Choices:
    """All choices that a request asks for, those of the first prompt first."""

    def __init__(
        self,
        service: Service,
        prompts: Sequence[Prompt],
        request: s.Sampling,
        reply: Reply,
        form: Form = FREE,
    ) -> None:
        """Raises what the request cannot have: ImpossibleError, LimitError, and others."""
        _check_count(service, prompts, request)
        self._watch = Stopwatch()
        self._reply = reply
        self._form = form
        self._prompts = prompts
        self._choices_each = request.n
        self._wants_usage = bool(request.stream_options and request.stream_options.include_usage)
        self.all = [
            Choice(
                index,
                Generation.of(
                    service,
                    reply.model,
                    prompt,
                    request,
                    reply.top_logprobs,
                    index % request.n,
                    form.grammar,
                ),
                Collector(service.captures, reply.model.id, request),
                Deltas(bool(request.stop), prompt.echo),
                form.message(),
                ThinkingCount(form.markers, prompt.tokens),
            )
            for index, prompt in enumerate(each for each in prompts for _ in range(request.n))
        ]

    def run(self, job: Job) -> Generator[tuple[int, Event], None, None]:
        """Each event with the index of its choice. For the generation thread."""
        for choice in self.all:
            scores = choice.generation.scores(job)
            if scores is not None:
                yield choice.index, scores
        generating = [choice for choice in self.all if choice.generation.generates]
        most = sum(choice.generation.sampling.max_tokens for choice in generating)
        for done, (place, step) in enumerate(_steps(generating, job), start=1):
            job.report(done, most, "tokens")
            yield generating[place].index, step

    def parts(self, events: Iterable[tuple[int, Event]]) -> Iterator[Delta]:
        """What each event adds to the choice that it is of."""
        for index, event in self._watch.timed(events):
            yield self.all[index].take(event)[0]

    def body(self, events: Iterable[tuple[int, Event]]) -> dict[str, Any]:
        """The whole reply; what was captured is kept."""
        for _ in self.parts(events):
            pass
        return self.whole()

    def whole(self) -> dict[str, Any]:
        """The whole reply, once all `parts` have been taken; what was captured is kept."""
        told, kept = [], []
        for choice in self.all:
            if choice.finish_reason is None:
                raise UnavailableError("The generation was cancelled: its client is gone.")
            told.append(
                self._reply.choice(choice.index, joined(choice.parts), choice.finish_reason)
            )
            kept.append(choice.collector.keep())
        if len(kept) == 1:
            return self._reply.body(told, self._usage()) | kept[0] | self._about()
        choices = [one | capture for one, capture in zip(told, kept, strict=True)]
        return self._reply.body(choices, self._usage()) | self._about()

    def chunks(self, events: Iterable[tuple[int, Event]]) -> Iterator[dict[str, Any]]:
        """The events of a stream: one for each token, one for each end, and usage if asked for."""
        not_yet: dict[str, Any] = {"usage": None} if self._wants_usage else {}
        for index, event in self._watch.timed(events):
            choice = self.all[index]
            is_first = not choice.parts
            part, activations = choice.take(event)
            if choice.finish_reason:
                choice.collector.keep()
            delta = self._reply.delta(index, part, is_first)
            yield self._reply.chunk(delta) | not_yet | choice.collector.described(activations)
            for call in self._reply.calls(index, part):
                yield self._reply.chunk(call) | not_yet | choice.collector.described({})
            if choice.finish_reason:
                end = self._reply.chunk(self._reply.end(index, choice.finish_reason))
                yield end | not_yet | choice.collector.described({}) | self._about()
        if self._wants_usage:
            yield self._reply.usage_chunk(self._usage())

    def _usage(self) -> s.Usage:
        n = self._choices_each
        of_prompts = [self.all[place : place + n] for place in range(0, len(self.all), n)]
        return usage(
            [len(prompt.tokens) for prompt in self._prompts],
            [choice.completion_tokens for choice in self.all],
            [min(choice.cached_tokens for choice in choices) for choices in of_prompts],
            sum(choice.thinking.tokens for choice in self.all),
        )

    def _about(self) -> dict[str, Any]:
        """What the reply says of the worth of its numbers so far, and how fast they came."""
        ended = next(choice for choice in reversed(self.all) if choice.finish_reason)
        tokens = sum(choice.completion_tokens for choice in self.all)
        drafts = draft_stats(ended.generation.draft, [choice.drafts for choice in self.all])
        stats = self._watch.stats(tokens, ended.stop_reason, drafts)
        positions = max(choice.positions for choice in self.all)
        not_captured, acting = ended.generation.not_captured, ended.generation.steered
        notes = [*self._form.notes, *([not_captured] if not_captured else []), *acting.notes]
        told = told_of_steering(acting) | warnings(self._reply.model, positions, notes)
        return {"stats": stats} | told


def _steps(choices: Sequence[Choice], job: Job) -> Iterator[tuple[int, Generated]]:
    """The tokens of some choices, each with the place of its choice: as they come, or one choice
    after another where a draft model proposes them."""
    generations = [choice.generation for choice in choices]
    if not any(each.draft for each in generations):
        yield from job.generated([each.begun(job) for each in generations])
    for place, each in enumerate(generations):
        if each.draft:
            for step in each.drafted(each.draft, job):
                yield place, step


def _check_count(service: Service, prompts: Sequence[Prompt], request: s.Sampling) -> None:
    if request.best_of not in (None, request.n):
        raise ImpossibleError(
            f"best_of: {request.best_of} is not supported beside n: {request.n}, since choices are "
            "not ranked; leave it out.",
            "best_of",
        )
    settings = service.settings
    if len(prompts) * request.n > settings.max_choices:
        raise LimitError(
            f"n: {len(prompts)} prompts with {request.n} choices each are more than "
            f"{settings.max_choices} choices.",
            "n",
        )
    check_total(prompts, settings, "prompt")
