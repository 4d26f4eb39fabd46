"""How likely a model finds each token of a given sequence, nothing sampled."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from mlx_lm.generate import maybe_quantize_kv_cache

from engine.captures.encoding import encoded
from engine.captures.hooks import ResolvedHook
from engine.captures.recorder import Recorder
from engine.captures.records import Activations
from engine.captures.steps import records
from engine.interventions.intervening import Interventions
from engine.interventions.intervention import AnyIntervention
from engine.machine.gaps import gaps_explained
from engine.runs.finite import not_finite
from engine.runs.kit import ModelKit
from engine.runs.results import TokenChoice, token_choices
from engine.runs.run import check_passes, longest_pass
from engine.runs.special_tokens import special_positions
from engine.runs.steps import in_steps
from engine.taps.observation import Observation

PASS_TOKENS = 128
"""Tokens of one pass: the logits of all of them are in memory at a time."""


@dataclass(frozen=True)
class ScoredToken:
    """A token of the sequence, its natural-log probability after the tokens before it, and the
    likeliest tokens in its place. Nothing predicts the first: None, and no likeliest ones."""

    token: int
    logprob: float | None
    top_logprobs: tuple[TokenChoice, ...]


@dataclass(frozen=True)
class Scores:
    """One score a token; the activations are those of one pass over all of them, step 0."""

    tokens: list[ScoredToken]
    activations: Activations


def score(
    kit: ModelKit,
    tokens: Sequence[int],
    hooks: Sequence[ResolvedHook] = (),
    interventions: Sequence[AnyIntervention] = (),
    *,
    top_logprobs: int = 0,
    following: int = 0,
    budget_bytes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Run a sequence through the model as a generation runs its prompt, in passes with a cache.

    `following` tokens will be passed after the sequence by a generation, in which interventions
    may act too. `progress` is called after each pass with the tokens done and all tokens. Raises
    InvalidRequestError, ContextLengthError, UnknownPositionError, InterventionError,
    NotEnoughMemoryError, NotFiniteError, and CaptureTooLargeError past the byte budget.
    """
    check_passes(interventions)
    kit.check_tokens([tokens])
    length = len(tokens)
    kit.structure.check_length(length)
    special = special_positions(kit, hooks, [tokens])
    recorder = Recorder(hooks, length, range(length), budget_bytes, special)
    changes = Interventions(interventions, kit.structure, length, range(length + following))
    size = longest_pass(kit, hooks, changes, length, most=PASS_TOKENS)
    visitors = in_steps(kit.structure, changes.visitors(), size)
    observation = Observation(kit.structure, visitors, recorder)
    scored = [ScoredToken(tokens[0], None, ())]
    cache = kit.make_cache()
    with observation.taps(), gaps_explained():
        for start in range(0, length, size):
            end = min(start + size, length)
            with observation.watching():
                logits = kit.model(mx.array([tokens[start:end]]), cache=cache)
            maybe_quantize_kv_cache(cache, kit.quantized_kv_start, kit.kv_group_size, kit.kv_bits)
            recorder.start()
            scored += _scored(kit, logits[0], tokens[start + 1 : end + 1], top_logprobs)
            if not all(map(_is_finite, scored[start + 1 :])):
                raise not_finite(kit, [tokens], changes.visitors(without_functions=True))
            if progress:
                progress(end, length)
    changes.check_done(length)
    return Scores(scored, encoded(records(recorder.take(range(length))), hooks))


def _is_finite(scored: ScoredToken) -> bool:
    return scored.logprob is not None and math.isfinite(scored.logprob)


def _scored(
    kit: ModelKit, logits: mx.array, following: Sequence[int], top: int
) -> list[ScoredToken]:
    """The scores of the tokens that follow those of a pass; after the last one there may be none.

    The logits are ``[seq, vocab]``.
    """
    mx.eval(logits)
    if not following:
        return []
    logits = logits[: len(following)].astype(mx.float32)
    logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    chosen = np.array(mx.take_along_axis(logprobs, mx.array(list(following))[:, None], axis=-1))
    likeliest = _likeliest(logprobs, top) if top else [[] for _ in following]
    return [
        ScoredToken(token, logprob, token_choices(kit, choices))
        for token, logprob, choices in zip(following, chosen[:, 0].tolist(), likeliest, strict=True)
    ]


def _likeliest(logprobs: mx.array, top: int) -> list[list[tuple[int, float]]]:
    """For each row of ``[seq, vocab]`` its `top` likeliest tokens, the likeliest first."""
    found = mx.argpartition(-logprobs, top - 1, axis=-1)[:, :top]
    ids, values = np.array(found), np.array(mx.take_along_axis(logprobs, found, axis=-1))
    order = np.argsort(-values, axis=-1, kind="stable")
    ids, values = (np.take_along_axis(each, order, axis=-1) for each in (ids, values))
    return [list(zip(*row, strict=True)) for row in zip(ids.tolist(), values.tolist(), strict=True)]
