"""Prompts to token ids, within the limits."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from engine.contract.schemas import ChatMessage
from engine.runs.kit import tokenize
from engine.runs.text_stream import TextStream
from engine.server.errors import ImpossibleError, LimitError, UnknownTokenError
from engine.server.state.models import LoadedModel
from engine.server.state.settings import Settings

OnePrompt = str | list[int]
"""Text, or token ids."""


@dataclass(frozen=True)
class Prompt:
    """A prompt of a completion. `echo` is the text that each of its tokens adds, where the client
    asked for an echo, else empty."""

    tokens: list[int]
    echo: tuple[str, ...] = ()


def completion_prompts(
    model: LoadedModel,
    prompt: OnePrompt | list[str] | list[list[int]],
    settings: Settings,
    *,
    echo: bool,
) -> list[Prompt]:
    """The prompts of a completion: one, or each of a list of them."""
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        return [_prompt(model, prompt, settings, "prompt", echo)]
    return [
        _prompt(model, each, settings, f"prompt.{n}", echo)
        for n, each in enumerate(cast(list[OnePrompt], prompt))
    ]


def text_tokens(model: LoadedModel, text: str, settings: Settings, param: str) -> list[int]:
    _check_length(len(text), settings, param)
    with model.lock:
        return tokenize(model.kit, text)


def chat_tokens(
    model: LoadedModel, messages: list[ChatMessage], settings: Settings, param: str = "messages"
) -> list[int]:
    """The token ids of messages under the chat template."""
    _check_length(sum(len(message.content) for message in messages), settings, param)
    with model.lock:
        return tokenize(model.kit, [message.model_dump() for message in messages])


def prompt_tokens(
    model: LoadedModel, prompt: str | list[int], settings: Settings, param: str = "prompt"
) -> list[int]:
    """The token ids of a text or of ids already; raises on none, too many, unknown ones."""
    if isinstance(prompt, str):
        prompt = text_tokens(model, prompt, settings, param)
    return checked(model, prompt, settings, param)


def _prompt(
    model: LoadedModel, prompt: OnePrompt, settings: Settings, param: str, echo: bool
) -> Prompt:
    tokens = prompt_tokens(model, prompt, settings, param)
    return Prompt(tokens, _pieces(model, prompt, tokens) if echo else ())


def _pieces(model: LoadedModel, prompt: OnePrompt, tokens: list[int]) -> tuple[str, ...]:
    """The text that each token of a prompt adds; of those that frame a text, none."""
    with model.lock:
        tokenizer = model.kit.tokenizer
        framed = tokens
        if isinstance(prompt, str):
            framed = list(tokenizer.encode(prompt, add_special_tokens=False))
        places = range(len(tokens) - len(framed) + 1)
        before = next((n for n in places if tokens[n : n + len(framed)] == framed), None)
        if before is None or not framed:
            before, framed = 0, tokens
        stream = TextStream(tokenizer, [])
        pieces = [stream.add(token) for token in framed]
        pieces[-1] += stream.finish()
    after = len(tokens) - before - len(pieces)
    return ("",) * before + tuple(pieces) + ("",) * after


def checked(model: LoadedModel, tokens: list[int], settings: Settings, param: str) -> list[int]:
    if not tokens:
        raise ImpossibleError(f"{param} contains no token; at least one is needed.", param)
    if len(tokens) > settings.max_prompt_tokens:
        raise LimitError(
            f"{param} has {len(tokens)} tokens; at most {settings.max_prompt_tokens} are taken.",
            param,
        )
    check_vocabulary(model, tokens, param)
    return tokens


def check_vocabulary(model: LoadedModel, tokens: Iterable[int], param: str) -> None:
    size = model.kit.info.vocab_size
    for token in tokens:
        if not 0 <= token < size:
            raise UnknownTokenError(
                f"{param}: {token} is no token id; they go from 0 to {size - 1}.", param
            )


def _check_length(length: int, settings: Settings, param: str) -> None:
    most = settings.max_prompt_characters
    if length > most:
        raise LimitError(f"{param} contains {length} characters; at most {most} are taken.", param)
