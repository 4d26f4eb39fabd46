"""Speculative decoding by mlx-lm: a draft model proposes tokens, which the model checks at once."""

from collections.abc import Generator
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.generate import generation_stream, speculative_generate_step
from mlx_lm.models.cache import make_prompt_cache

from engine.errors import InvalidRequestError
from engine.runs.choices import Step, likeliest, ranked
from engine.runs.kit import ModelKit
from engine.runs.run import Run
from engine.taps.positions import parts_of

SHOWN = 1
"""Tokens of a prompt that mlx-lm passes to processors of logits."""


def read_prompts(run: Run, draft_model: nn.Module) -> list:
    """Have both models read a run's prompt up to its last token; returns the draft model's caches.

    The run's cache may contain those after its own. Progress is reported after each pass.
    """
    layers = len(run.kit.model.layers)
    run.cache, drafts = run.cache[:layers], run.cache[layers:] or make_prompt_cache(draft_model)
    run.begin()
    while not run.is_read:
        run.read_prompt()
    size = run.sampling.prefill_step_size
    for first in range(0, len(run.tokens) - 1, size):
        with mx.stream(generation_stream):
            chunk = run.tokens[first : min(first + size, len(run.tokens) - 1)]
            draft_model(mx.array([chunk]), cache=drafts)
            mx.eval([each.state for each in drafts])
        run.report_progress()
    return drafts


def drafted_tokens(run: Run, draft_model: nn.Module, drafts: list) -> Generator[Step, None, None]:
    """The tokens after a prompt that both models have read, the draft model into `drafts`."""
    kit, sampling = run.kit, run.sampling
    steps = speculative_generate_step(
        run.last_token,
        kit.model,
        draft_model,
        num_draft_tokens=sampling.num_draft_tokens,
        max_tokens=sampling.max_tokens,
        sampler=sampling.sampler(),
        logits_processors=sampling.logits_processors(SHOWN),
        prompt_cache=[*run.cache, *drafts],
        kv_bits=kit.kv_bits,
        kv_group_size=kit.kv_group_size,
        quantized_kv_start=kit.quantized_kv_start,
    )
    is_first = True  # of those that one pass chose
    for made, (token, logprobs, is_draft) in enumerate(steps):
        left = sampling.max_tokens - made
        drafted = min(left, sampling.num_draft_tokens) if is_first else 0
        top = ranked(likeliest(logprobs[None], sampling.top_logprobs))
        yield Step(int(token), cast(float, logprobs[token].item()), top, drafted, is_draft)
        is_first = not is_draft


def check_draft(kit: ModelKit, draft_model: nn.Module, cache: list, length: int) -> None:
    """Raise InvalidRequestError for what speculative decoding over `length` tokens cannot do."""
    if draft_model is kit.model:
        raise InvalidRequestError("draft_model is the model itself, which needs no draft")
    drafts = cache[len(kit.model.layers) :] or make_prompt_cache(draft_model)
    of_both = {"the model": cache[: len(kit.model.layers)], "the draft model": drafts}
    for name, caches in of_both.items():
        kinds = {type(part).__name__ for part in parts_of(caches) if not _takes_back(part, length)}
        if kinds:
            raise InvalidRequestError(
                f"draft_model: {name}'s cache, {', '.join(sorted(kinds))}, cannot take rejected "
                f"drafts back over {length} tokens"
            )


def _takes_back(cache: Any, length: int) -> bool:
    """Whether tokens can be taken out of a cache, also once it contains so many: one that rotates
    has forgotten what they took the place of."""
    limit = getattr(cache, "max_size", None) or getattr(cache, "chunk_size", None)
    return cache.is_trimmable() and (limit is None or length <= limit)
