"""What a generation says of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.captures.records import Activations
from engine.runs.kit import ModelKit

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class TokenChoice:
    """A token that could have been chosen, its exact text and its natural-log probability."""

    token: int
    text: str
    logprob: float


@dataclass(frozen=True)
class GenerationResult:
    """One generated token.

    `piece` is the text that it adds, which is empty while a character is incomplete; `text` is what
    can be shown once it is there: the same, unless some of it may begin a stop string.
    A draft model proposed `drafted` tokens for this one and those after it, if it is the first of
    a pass; `is_draft` says that this is one of those that it proposed.
    Of the prompt's tokens `cached_tokens` did not go through the model again.
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
    cached_tokens: int
    drafted: int = 0
    is_draft: bool = False


Generated = tuple[GenerationResult, Activations]
"""One token with the activations of the pass that chose it."""


def token_choices(kit: ModelKit, likeliest: Sequence[tuple[int, float]]) -> tuple[TokenChoice, ...]:
    """The tokens that could have been chosen, with their text."""
    return tuple(
        TokenChoice(token, kit.pieces.text(token), logprob) for token, logprob in likeliest
    )
