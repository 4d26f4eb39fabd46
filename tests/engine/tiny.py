"""Tiny random models that capture tests run on, and a tokenizer whose tokens are numbers."""

from typing import Any, ClassVar

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

from benchmarks.architectures import tiny_model
from engine.runs.kit import ModelKit
from engine.structure.resolver import resolve

PROMPT = [3, 31, 4, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32, 3, 8, 46]


class Numbers:
    """Writes each token as its number and a space; `eos_token_ids` end a text."""

    added_tokens_decoder: ClassVar[dict] = {}

    def __init__(self, *eos_token_ids: int):
        self.eos_token_ids = set(eos_token_ids)
        self.all_special_ids = list(eos_token_ids)

    def convert_ids_to_tokens(self, token: int) -> str:
        return str(token)

    def decode(self, tokens: list[int]) -> str:
        return "".join(f"{token} " for token in tokens)

    @property
    def detokenizer(self) -> "Numbers.Detokenizer":
        return Numbers.Detokenizer(self)

    class Detokenizer:
        def __init__(self, tokenizer: "Numbers"):
            self.tokenizer = tokenizer
            self.unread = ""

        def add_token(self, token: int) -> None:
            self.unread += self.tokenizer.decode([token])

        @property
        def last_segment(self) -> str:
            segment, self.unread = self.unread, ""
            return segment

        def finalize(self) -> None:
            pass


def tiny_kit(
    name: str = "llama", *, eos: int | None = None, kit: dict | None = None, **changes: Any
):
    """A tiny random model of an architecture as a `ModelKit`, with a configuration's changes."""
    model = tiny_model(name, **changes)
    tokenizer = Numbers() if eos is None else Numbers(eos)
    return ModelKit(model, tokenizer, {}, name, None, resolve(model), **(kit or {}))


def greedy(model, prompt: list[int], count: int, cache: list | None = None) -> list[int]:
    """Tokens that a model generates greedily, by plain calls and without the engine."""
    cache = cache or make_prompt_cache(model)
    logits = model(mx.array([prompt]), cache=cache)
    tokens: list[int] = []
    for _ in range(count):
        tokens.append(mx.argmax(logits[0, -1]).item())
        logits = model(mx.array([tokens[-1:]]), cache=cache)
    return tokens
