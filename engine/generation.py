"""Generation with captures: tokens, their text, and what was captured while they were made."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.sample_utils import make_logits_processors, make_sampler

from engine.capture import Activations, Recorder, records
from engine.errors import InterventionError, InvalidRequestError
from engine.hooks import ActivationHookSpec, resolve_hooks
from engine.intervening import Interventions
from engine.interventions import Intervention
from engine.kit import ModelKit
from engine.observation import observed, tokens_in
from engine.stopping import StopStrings
from engine.weaving import in_turn


@dataclass(frozen=True)
class TokenChoice:
    """One token that could have been chosen; `logprob` is its natural-log probability."""

    token: int
    text: str
    logprob: float


@dataclass(frozen=True)
class GenerationResult:
    """One generated token; `text` is the text that it completes, which may be empty."""

    token: int
    text: str
    logprob: float
    top_logprobs: tuple[TokenChoice, ...]
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int


def create_generator_with_activations(
    kit: ModelKit,
    tokens: Sequence[int],
    activation_hooks: Sequence[ActivationHookSpec] = (),
    *,
    interventions: Sequence[Intervention] = (),
    max_tokens: int = 100,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    seed: int | None = None,
    stop_strings: Sequence[str] = (),
    repetition_penalty: float | None = None,
    repetition_context_size: int = 20,
    logit_bias: dict[int, float] | None = None,
    top_logprobs: int = 0,
    draft_model: nn.Module | None = None,
    num_draft_tokens: int = 3,
    prompt_cache: list | None = None,
    prompt_progress_callback: Callable[[int, int], None] | None = None,
    budget_bytes: int | None = None,
) -> Iterator[tuple[GenerationResult, Activations]]:
    """Generate, yielding each token with the activations of the pass that chose it.

    Step 0 holds the whole prompt, step k the k-th generated token's pass. Closing the iterator
    removes the taps. Raises InterventionError if by the end an intervention has not acted.
    """
    _check_passes(interventions)
    if draft_model is not None:
        raise InvalidRequestError("draft models are not available in this version")
    hooks = resolve_hooks(activation_hooks, kit.structure)
    if seed is not None:
        mx.random.seed(seed)
    cache = prompt_cache or make_prompt_cache(kit.model, kit.max_kv_size)
    first = tokens_in(cache)
    end = first + len(tokens)
    recorder = Recorder(hooks, end, budget_bytes)
    changes = Interventions(interventions, kit.structure, end, range(first, end + max_tokens - 1))
    steps = generate_step(
        mx.array(tokens),
        kit.model,
        max_tokens=max_tokens,
        sampler=make_sampler(temperature, top_p, min_p, top_k=top_k),
        logits_processors=make_logits_processors(
            logit_bias, repetition_penalty, repetition_context_size
        ),
        prompt_cache=cache,
        kv_bits=kit.kv_bits,
        kv_group_size=kit.kv_group_size,
        quantized_kv_start=kit.quantized_kv_start,
        prompt_progress_callback=prompt_progress_callback,
    )
    stop = StopStrings(stop_strings)
    detokenizer = kit.tokenizer.detokenizer
    prompt_end = recorder.prompt_end
    visitors = in_turn(changes.visitors(), recorder.visitors())
    with observed(kit.structure, visitors, recorder):
        for count, (token, logprobs) in enumerate(islice(steps, max_tokens), start=1):
            ended = token in kit.tokenizer.eos_token_ids
            if not ended:
                detokenizer.add_token(token)
            if ended or count == max_tokens:
                detokenizer.finalize()
            text = stop.released(detokenizer.last_segment, ended or count == max_tokens)
            reason = "stop" if ended or stop.found else "length" if count == max_tokens else None
            mine = _take_step(recorder, prompt_end, count - 1)
            yield (
                GenerationResult(
                    token=token,
                    text=text,
                    logprob=logprobs[token].item(),
                    top_logprobs=_top(kit, logprobs, top_logprobs),
                    finish_reason=reason,
                    prompt_tokens=len(tokens),
                    completion_tokens=count,
                ),
                records(mine, step=count - 1),
            )
            if reason is not None:
                changes.check_done(end + count - 1)
                return


def _check_passes(interventions: Sequence[Intervention]) -> None:
    if any(intervention.operation == "mean" for intervention in interventions):
        raise InterventionError(
            "mean cannot act in a generation, which runs the sequence in several passes: take the "
            "mean of a capture, and replace by it"
        )


def _take_step(recorder: Recorder, prompt_end: int, step: int) -> list:
    """Remove and answer the passes of a step: the prompt's chunks, or one pass."""
    end = prompt_end + step
    mine = [each for each in recorder.passes if each.span.first < end]
    recorder.passes = [each for each in recorder.passes if each.span.first >= end]
    return mine


def _top(kit: ModelKit, logprobs: mx.array, count: int) -> tuple[TokenChoice, ...]:
    if count == 0:
        return ()
    values = np.array(logprobs.astype(mx.float32))
    best = np.argsort(-values, kind="stable")[:count]
    return tuple(
        TokenChoice(int(t), kit.tokenizer.decode([int(t)]), float(values[t])) for t in best
    )
