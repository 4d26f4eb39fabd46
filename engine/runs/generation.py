"""Generation with captures: tokens, their text, and what was captured while they were made."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import mlx.nn as nn
from mlx_lm.generate import generation_stream, wired_limit

from engine.captures.hooks import ActivationHookSpec, ResolvedHook
from engine.captures.recorder import Recorder
from engine.captures.records import Activations
from engine.captures.steps import records
from engine.errors import InterventionError
from engine.interventions.intervening import Interventions
from engine.interventions.intervention import Intervention
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.runs.sampling import Sampling, Step, generated_tokens
from engine.runs.stopping import StopStrings
from engine.runs.text_stream import TextStream
from engine.structure.position_table import check_positions, learned_positions
from engine.structure.trace import traced
from engine.taps.observation import Observation
from engine.taps.positions import tokens_in

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class TokenChoice:
    """One token that could have been chosen; `logprob` is its natural-log probability."""

    token: int
    text: str
    logprob: float


@dataclass(frozen=True)
class GenerationResult:
    """One generated token.

    `piece` is the text that it adds, which is empty while a character is incomplete; `text` is what
    can be shown once it is there: the same, unless some of it may begin a stop string.
    Log-probabilities are natural, after penalties and biases and before temperature.
    """

    token: int
    piece: str
    text: str
    logprob: float
    top_logprobs: tuple[TokenChoice, ...]
    finish_reason: FinishReason | None
    prompt_tokens: int
    completion_tokens: int


Steps = Generator[tuple[GenerationResult, Activations], None, None]


def create_generator_with_activations(
    kit: ModelKit,
    tokens: Sequence[int],
    activation_hooks: Sequence[ActivationHookSpec] = (),
    *,
    interventions: Sequence[Intervention] = (),
    draft_model: nn.Module | None = None,
    prompt_cache: list | None = None,
    prompt_progress_callback: Callable[[int, int], None] | None = None,
    budget_bytes: int | None = None,
    **options: Any,
) -> Steps:
    """Generate, yielding each token with the activations of the pass that chose it.

    The `options` are the fields of `Sampling`, such as ``max_tokens=20, temperature=0.7``. The
    kit's registered hooks capture too, and keep what they captured.

    Step 0 contains the whole prompt, step k the pass over the k-th generated token, one position.
    The end-of-text token and stop strings are not part of any text. With a `prompt_cache`,
    `tokens` continue what it contains, and positions count from its beginning (the cache of a state
    space is then one that this function or an observed pass has filled); with a `draft_model` it
    contains the model's caches and then the draft model's. The prompt runs in passes of at most
    `prefill_step_size` tokens, its last token alone; step 0 is all of them, joined.

    Passes are observed only while a token is being made: another run may come between two. Raises
    InvalidRequestError, ContextLengthError for more tokens than a model has learned positions, what
    `resolve_hooks` raises, UnknownPositionError, CaptureTooLargeError past the byte budget, and
    InterventionError, in place of the last token, if an intervention has not acted by then. An
    option that `Sampling` does not have is a TypeError.
    """
    steps = generate(
        kit,
        tokens,
        kit.hooks.hooks_for(activation_hooks),
        Sampling(**options),
        interventions=interventions,
        draft_model=draft_model,
        prompt_cache=prompt_cache,
        prompt_progress_callback=prompt_progress_callback,
        budget_bytes=budget_bytes,
    )
    return _collected(kit, steps)


def _collected(kit: ModelKit, steps: Steps) -> Steps:
    with closing(steps):
        for result, activations in steps:
            kit.hooks.collect(activations)
            yield result, activations


def generate(
    kit: ModelKit,
    tokens: Sequence[int],
    hooks: Sequence[ResolvedHook],
    sampling: Sampling,
    *,
    interventions: Sequence[Intervention] = (),
    draft_model: nn.Module | None = None,
    prompt_cache: list | None = None,
    prompt_progress_callback: Callable[[int, int], None] | None = None,
    budget_bytes: int | None = None,
) -> Steps:
    """As `create_generator_with_activations`, with these hooks and no others."""
    check_passes(interventions)
    kit.check_tokens([tokens])
    sampling.check(kit)
    cache = prompt_cache or kit.make_cache()
    first = tokens_in(cache)
    end = first + len(tokens)
    kit.structure.check_length(end + sampling.max_tokens)
    if draft_model is not None:
        check_positions(end + sampling.max_tokens, learned_positions(traced(draft_model)))
    run_positions = range(first, end + sampling.max_tokens - 1)
    recorder = Recorder(hooks, end, run_positions, budget_bytes)
    changes = Interventions(interventions, kit.structure, end, run_positions)
    steps = generated_tokens(kit, tokens, sampling, cache, draft_model, prompt_progress_callback)
    run = _Run(kit, tokens, sampling, recorder, changes, StopStrings(sampling.stop_strings))
    return run.results(steps, first, end)


@dataclass
class _Run:
    kit: ModelKit
    tokens: Sequence[int]
    sampling: Sampling
    recorder: Recorder
    changes: Interventions
    stop: StopStrings

    def results(self, steps: Generator[Step, None, None], first: int, end: int) -> Steps:
        stream = TextStream(self.kit.tokenizer, self.tokens)
        observation = Observation(self.kit.structure, self.changes.visitors(), self.recorder)
        positions = range(first, end)
        streams = [generation_stream]  # mlx-lm's own, of a kind that its annotation leaves out
        wired = wired_limit(self.kit.model, streams)  # type: ignore[arg-type]
        with closing(steps), wired, observation.taps(), gaps_explained():
            for count in range(1, self.sampling.max_tokens + 1):
                with observation.watching():
                    step = next(steps)
                ended = step.token in self.kit.tokenizer.eos_token_ids
                is_last = ended or count == self.sampling.max_tokens
                piece = "" if ended else stream.add(step.token)
                piece += stream.finish() if is_last else ""
                text = self.stop.released(piece, is_last)
                stopped = ended or self.stop.found is not None
                reason: FinishReason | None = "stop" if stopped else "length" if is_last else None
                activations = records(self.recorder.take(positions))
                if reason is not None:
                    self.changes.check_done(positions.stop)
                yield self._result(step, piece, text, reason, count), activations
                if reason is not None:
                    return
                positions = range(positions.stop, positions.stop + 1)

    def _result(
        self, step: Step, piece: str, text: str, reason: FinishReason | None, count: int
    ) -> GenerationResult:
        return GenerationResult(
            token=step.token,
            piece=piece,
            text=text,
            logprob=step.logprob,
            top_logprobs=token_choices(self.kit, step.likeliest),
            finish_reason=reason,
            prompt_tokens=len(self.tokens),
            completion_tokens=count,
        )


def token_choices(kit: ModelKit, likeliest: Sequence[tuple[int, float]]) -> tuple[TokenChoice, ...]:
    """The tokens that could have been chosen, with their text."""
    return tuple(
        TokenChoice(token, kit.tokenizer.decode([token]), logprob) for token, logprob in likeliest
    )


def check_passes(interventions: Sequence[Intervention]) -> None:
    """Raise InterventionError for one that needs the whole sequence in a single pass."""
    if any(intervention.operation == "mean" for intervention in interventions):
        raise InterventionError(
            "mean cannot act in a generation, which runs the sequence in several passes: take the "
            "mean of a capture, and replace by it"
        )
