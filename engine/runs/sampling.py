"""How tokens are chosen, and mlx-lm's generation under these choices."""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.generate import generate_step, speculative_generate_step
from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache
from mlx_lm.sample_utils import LogitsProcessor, make_logits_processors

from engine.errors import InvalidRequestError
from engine.runs.kit import ModelKit
from engine.runs.penalties import Penalties
from engine.runs.sampler import LARGEST_SEED, LEAST_SEED, Sampler

COLDEST = 1e-6
"""Temperature below which logits would leave float32."""
MOST_PENALTY = 2
"""OpenAI's bound of a presence or frequency penalty, in logits."""
SHOWN_WITH_DRAFTS = 1
"""Tokens of a prompt that mlx-lm passes to processors of logits in speculative decoding."""
BOUNDS = f"-{MOST_PENALTY} to {MOST_PENALTY}"


class Step(NamedTuple):
    """One generated token, its log-probability, and the likeliest tokens with theirs."""

    token: int
    logprob: float
    likeliest: list[tuple[int, float]]


@dataclass(frozen=True)
class Sampling:
    """Options of a generation; temperature 0 is greedy, `top_k` 0 and `top_p` 1 keep all.

    `seed` is any integer of 64 bits, signed or not; without it each run draws differently.
    `choice` counts the runs of one seed over one prompt, each of which draws differently.
    `presence_penalty` is taken from the logit of each token generated so far, `frequency_penalty`
    once for each time. `logit_bias` maps token ids to what is added to their logits. A text ends
    before the first of `stop_strings`. `num_draft_tokens` is for a draft model, and
    `prefill_step_size` the most tokens of a prompt that one pass takes.
    """

    max_tokens: int = 100
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    choice: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float | None = None
    repetition_context_size: int = 20
    logit_bias: Mapping[int, float] | None = None
    stop_strings: Sequence[str] = ()
    top_logprobs: int = 0
    num_draft_tokens: int = 3
    prefill_step_size: int = 2048

    def check(self, kit: ModelKit) -> None:
        """Raise InvalidRequestError for a value that has no meaning."""
        vocab = kit.info.vocab_size
        penalty = self.repetition_penalty
        allowed = {
            "max_tokens": (self.max_tokens >= 1, "at least 1"),
            "temperature": (
                self.temperature == 0 or self.temperature >= COLDEST,
                f"0 or at least {COLDEST}",
            ),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "top_k": (self.top_k >= 0, "at least 0"),
            "min_p": (0 <= self.min_p <= 1, "0 to 1"),
            "seed": (
                self.seed is None or LEAST_SEED <= self.seed <= LARGEST_SEED,
                f"{LEAST_SEED} to {LARGEST_SEED}",
            ),
            "choice": (self.choice >= 0, "at least 0"),
            "presence_penalty": (abs(self.presence_penalty) <= MOST_PENALTY, BOUNDS),
            "frequency_penalty": (abs(self.frequency_penalty) <= MOST_PENALTY, BOUNDS),
            "repetition_penalty": (penalty is None or penalty > 0, "above 0"),
            "repetition_context_size": (self.repetition_context_size >= 1, "at least 1"),
            "logit_bias": (
                all(0 <= t < vocab for t in self.logit_bias or ()),
                f"tokens below {vocab}",
            ),
            "top_logprobs": (0 <= self.top_logprobs <= vocab, f"0 to {vocab}"),
            "num_draft_tokens": (self.num_draft_tokens >= 1, "at least 1"),
            "prefill_step_size": (self.prefill_step_size >= 1, "at least 1"),
        }
        for name, (is_fine, range_) in allowed.items():
            if not is_fine:
                raise InvalidRequestError(f"{name} is {getattr(self, name)!r}, not {range_}")

    def sampler(self) -> Sampler:
        """A sampler for one run: it has a random key of its own."""
        return Sampler(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            seed=self.seed,
            choice=self.choice,
        )

    def logits_processors(self, prompt_tokens: int) -> list[LogitsProcessor]:
        """What changes the logits of one run, of whose tokens so many are the prompt's."""
        processors = make_logits_processors(
            dict(self.logit_bias or {}), self.repetition_penalty, self.repetition_context_size
        )
        if self.presence_penalty or self.frequency_penalty:
            penalties = Penalties(self.presence_penalty, self.frequency_penalty, prompt_tokens)
            processors.append(penalties)
        return processors


def generated_tokens(
    kit: ModelKit,
    tokens: Sequence[int],
    sampling: Sampling,
    cache: list,
    draft_model: nn.Module | None = None,
    prompt_progress_callback: Callable[[int, int], None] | None = None,
) -> Generator[Step, None, None]:
    """The tokens that follow a prompt; with a draft model, by speculative decoding.

    Raises InvalidRequestError for what speculative decoding cannot do.
    """
    sampler = sampling.sampler()
    parameters: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "logits_processors": sampling.logits_processors(
            len(tokens) if draft_model is None else SHOWN_WITH_DRAFTS
        ),
        "prefill_step_size": sampling.prefill_step_size,
        "kv_bits": kit.kv_bits,
        "kv_group_size": kit.kv_group_size,
        "quantized_kv_start": kit.quantized_kv_start,
    }
    prompt = mx.array(list(tokens))
    if draft_model is None:
        parameters["prompt_cache"] = cache
        parameters["prompt_progress_callback"] = prompt_progress_callback
        return _decoded(prompt, kit.model, sampler, sampling.top_logprobs, parameters)
    _check_draft(kit, draft_model, cache, prompt_progress_callback)
    layers = len(kit.model.layers)
    drafts = cache[layers:] or make_prompt_cache(draft_model)
    parameters["prompt_cache"] = [*cache[:layers], *drafts]
    parameters["num_draft_tokens"] = sampling.num_draft_tokens
    return _drafted(prompt, kit.model, draft_model, sampler, sampling.top_logprobs, parameters)


def _decoded(
    prompt: mx.array, model: nn.Module, sampler: Sampler, top: int, parameters: dict[str, Any]
) -> Generator[Step, None, None]:
    """Generation one token at a time; a step is chosen and reported in one evaluation.

    By the time that a token is read the next pass is under way, and what is calculated then
    would have to wait for it.
    """
    reported: deque[tuple[mx.array, ...]] = deque()

    def reporting(logprobs: mx.array) -> mx.array:
        token = sampler(logprobs)
        reported.append(_report(logprobs, token, top))
        return mx.depends(token, reported[-1])

    for token, _ in generate_step(prompt, model, sampler=reporting, **parameters):
        yield _step(token, reported.popleft())


def _drafted(
    prompt: mx.array,
    model: nn.Module,
    draft_model: nn.Module,
    sampler: Sampler,
    top: int,
    parameters: dict[str, Any],
) -> Generator[Step, None, None]:
    steps = speculative_generate_step(prompt, model, draft_model, sampler=sampler, **parameters)
    for token, logprobs, _ in steps:
        yield _step(token, _report(logprobs[None], mx.array([token]), top))


def _report(logprobs: mx.array, token: mx.array, top: int) -> tuple[mx.array, ...]:
    """The log-probability of a token, and the `top` likeliest tokens with theirs."""
    chosen = mx.take_along_axis(logprobs, token[:, None], axis=-1)
    if top == 0:
        return (chosen,)
    likeliest = mx.argpartition(-logprobs, top - 1, axis=-1)[:, :top]
    return chosen, likeliest, mx.take_along_axis(logprobs, likeliest, axis=-1)


def _step(token: Any, report: tuple[mx.array, ...]) -> Step:
    """A step; its token is a number, although mlx-lm says that it is an array."""
    chosen, *likeliest = (cast(list[Any], array.tolist())[0] for array in report)
    pairs = zip(*likeliest, strict=True)
    return Step(token, chosen[0], sorted(pairs, key=lambda pair: -pair[1]))


def _check_draft(kit: ModelKit, draft_model: nn.Module, cache: list, callback: object) -> None:
    if draft_model is kit.model:
        raise InvalidRequestError("draft_model is the model itself, which needs no draft")
    if not can_trim_prompt_cache(cache):
        kinds = ", ".join(sorted({type(c).__name__ for c in cache if not c.is_trimmable()}))
        raise InvalidRequestError(f"draft_model: {kinds} cannot take rejected drafts back")
    if callback is not None:
        raise InvalidRequestError(
            "prompt_progress_callback: a prompt before speculative decoding reports no progress"
        )
