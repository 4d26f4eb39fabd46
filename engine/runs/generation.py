"""Generation with captures: tokens, their text, and what was captured while they were made."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import mlx.nn as nn

from engine.captures.hooks import ActivationHookSpec, ResolvedHook
from engine.interventions.intervention import AnyIntervention
from engine.machine.gaps import gaps_explained
from engine.runs.batch import Batch
from engine.runs.drafting import check_draft, drafted_tokens, read_prompts
from engine.runs.kit import ModelKit
from engine.runs.prefixes import PrefixCache
from engine.runs.results import Generated
from engine.runs.run import Run
from engine.runs.sampling import Sampling
from engine.structure.position_table import check_positions, learned_positions
from engine.structure.trace import traced

Steps = Generator[Generated, None, None]


def create_generator_with_activations(
    kit: ModelKit,
    tokens: Sequence[int],
    activation_hooks: Sequence[ActivationHookSpec] = (),
    *,
    interventions: Sequence[AnyIntervention] = (),
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
    option that `Sampling` does not have is a TypeError. Logits that are NaN or infinite are a
    NotFiniteError in place of the token that would have been chosen by them.
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
    interventions: Sequence[AnyIntervention] = (),
    draft_model: nn.Module | None = None,
    prompt_cache: list | None = None,
    prompt_progress_callback: Callable[[int, int], None] | None = None,
    prefixes: PrefixCache | None = None,
    budget_bytes: int | None = None,
) -> Steps:
    """As `create_generator_with_activations`, with these hooks and no others, from the beginning
    of an earlier sequence, if one of the `prefixes` is alike."""
    run = Run(
        kit,
        tokens,
        hooks,
        sampling,
        interventions=interventions,
        prompt_cache=prompt_cache,
        prefixes=prefixes,
        progress=prompt_progress_callback,
        budget_bytes=budget_bytes,
    )
    if draft_model is None:
        return _alone(run)
    length = run.position + len(tokens) + sampling.max_tokens
    check_draft(kit, draft_model, run.cache, length)
    check_positions(length, learned_positions(traced(draft_model)))
    return _drafted(run, draft_model)


def _alone(run: Run) -> Steps:
    """A batch of one."""
    with closing(Batch(run.kit)) as batch:
        batch.add(run)
        while batch.runs:
            for _, outcome in batch.advance():
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome


def _drafted(run: Run, draft_model: nn.Module) -> Steps:
    with ExitStack() as stack:
        stack.enter_context(run.kit.wired())
        stack.enter_context(gaps_explained())
        drafts = read_prompts(run, draft_model)
        steps = stack.enter_context(closing(drafted_tokens(run, draft_model, drafts)))
        stack.enter_context(run.observation.taps())
        while True:
            with run.observation.watching():
                step = next(steps)
            result, activations = run.result(step)
            yield result, activations
            if result.finish_reason is not None:
                return
