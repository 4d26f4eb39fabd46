"""Speculative decoding by mlx-lm: a draft model proposes tokens, which the model checks at once."""

from collections.abc import Generator, Sequence
from typing import cast

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.generate import speculative_generate_step
from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache

from engine.errors import InvalidRequestError
from engine.runs.choices import Step, likeliest, ranked
from engine.runs.kit import ModelKit
from engine.runs.sampling import Sampling

SHOWN = 1
"""Tokens of a prompt that mlx-lm passes to processors of logits."""


def drafted_tokens(
    kit: ModelKit,
    draft_model: nn.Module,
    tokens: Sequence[int],
    sampling: Sampling,
    cache: list,
) -> Generator[Step, None, None]:
    """The tokens that follow a prompt. `cache` contains the model's caches, and may contain the
    draft model's after them."""
    layers = len(kit.model.layers)
    drafts = cache[layers:] or make_prompt_cache(draft_model)
    steps = speculative_generate_step(
        mx.array(list(tokens)),
        kit.model,
        draft_model,
        num_draft_tokens=sampling.num_draft_tokens,
        max_tokens=sampling.max_tokens,
        sampler=sampling.sampler(),
        logits_processors=sampling.logits_processors(SHOWN),
        prompt_cache=[*cache[:layers], *drafts],
        prefill_step_size=sampling.prefill_step_size,
        kv_bits=kit.kv_bits,
        kv_group_size=kit.kv_group_size,
        quantized_kv_start=kit.quantized_kv_start,
    )
    for token, logprobs, _ in steps:
        top = likeliest(logprobs[None], sampling.top_logprobs)
        yield Step(int(token), cast(float, logprobs[token].item()), ranked(top))


def check_draft(kit: ModelKit, draft_model: nn.Module, cache: list, callback: object) -> None:
    """Raise InvalidRequestError for what speculative decoding cannot do."""
    if draft_model is kit.model:
        raise InvalidRequestError("draft_model is the model itself, which needs no draft")
    if not can_trim_prompt_cache(cache):
        kinds = ", ".join(sorted({type(c).__name__ for c in cache if not c.is_trimmable()}))
        raise InvalidRequestError(f"draft_model: {kinds} cannot take rejected drafts back")
    if callback is not None:
        raise InvalidRequestError(
            "prompt_progress_callback: a prompt before speculative decoding reports no progress"
        )
