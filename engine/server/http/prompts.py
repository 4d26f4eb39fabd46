"""Prompts to token ids, within the limits."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from engine.contract.schemas import CompletionRequest
from engine.errors import InvalidRequestError
from engine.runs.encoding import Encoded, encode
from engine.runs.text_stream import TextStream
from engine.server.errors import (
    ImpossibleError,
    LimitError,
    UnavailableError,
    UnknownTokenError,
)
from engine.server.http.requests import client
from engine.server.state.models import LoadedModel
from engine.server.state.settings import Settings

SECONDS_BETWEEN_LOOKS = 0.1
"""How often a request that waits for the tokenizer looks whether its client is still there."""
OnePrompt = str | list[int]
"""Text, or token ids."""


@dataclass(frozen=True)
class Prompt:
    """A prompt of a completion. `echo` is the text that each of its tokens adds, where the client
    asked for an echo, else empty."""

    tokens: list[int]
    echo: tuple[str, ...] = ()


def completion_prompts(
    model: LoadedModel, request: CompletionRequest, settings: Settings
) -> list[Prompt]:
    """The prompts of a completion: one, or each of a list of them."""
    special, echo = request.add_special_tokens, request.echo
    return prompts_of(model, request.prompt, settings, "prompt", special=special, echo=echo)


def prompts_of(
    model: LoadedModel,
    given: OnePrompt | list[str] | list[list[int]],
    settings: Settings,
    param: str,
    *,
    special: bool,
    echo: bool = False,
) -> list[Prompt]:
    """One prompt, or each of a list of them; `special` adds the special tokens to texts."""
    rest = (settings, special, echo)
    if isinstance(given, str) or isinstance(given[0], int):
        return [_prompt(model, given, param, *rest)]
    check_all_lengths(given, settings, param)
    return [
        _prompt(model, each, f"{param}.{n}", *rest)
        for n, each in enumerate(cast(list[OnePrompt], given))
    ]


def text_tokens(
    model: LoadedModel, text: str, settings: Settings, param: str, special: bool
) -> Encoded:
    """The tokens of a text, if `special` within the special tokens that it does not bring."""
    check_length(len(text), settings, param)
    with tokenizing(model):
        return encode(model.kit.tokenizer, text, add_special_tokens=special)


def prompt_tokens(
    model: LoadedModel,
    prompt: OnePrompt,
    settings: Settings,
    param: str = "prompt",
    *,
    special: bool,
) -> list[int]:
    """The token ids of a text or of ids already; raises on none, too many, unknown ones."""
    if isinstance(prompt, str):
        prompt = text_tokens(model, prompt, settings, param, special).tokens
    return checked(model, prompt, settings, param)


def check_total(prompts: Sequence[Prompt], settings: Settings, param: str) -> None:
    """Raise LimitError for several prompts that have too many tokens together."""
    tokens = sum(len(prompt.tokens) for prompt in prompts)
    if len(prompts) > 1 and tokens > settings.max_batch_tokens:
        raise LimitError(
            f"{param} contains {tokens} tokens in all; at most {settings.max_batch_tokens} are "
            "taken.",
            param,
        )


def _prompt(
    model: LoadedModel,
    prompt: OnePrompt,
    param: str,
    settings: Settings,
    special: bool,
    echo: bool,
) -> Prompt:
    if isinstance(prompt, str):
        encoded = text_tokens(model, prompt, settings, param, special)
    else:
        encoded = Encoded([], prompt, [])
    tokens = checked(model, encoded.tokens, settings, param)
    return Prompt(tokens, _pieces(model, encoded) if echo else ())


def _pieces(model: LoadedModel, prompt: Encoded) -> tuple[str, ...]:
    """The text that each token of a prompt adds; of those that were added to a text, none."""
    with tokenizing(model):
        stream = TextStream(model.kit.tokenizer, [])
        pieces = [stream.add(token) for token in prompt.text]
        pieces[-1:] = [piece + stream.finish() for piece in pieces[-1:]]
    return ("",) * len(prompt.before) + tuple(pieces) + ("",) * len(prompt.after)


def single_token(model: LoadedModel, text: str, param: str) -> int:
    """The token that a text is, if need be behind a space; raises ImpossibleError on others."""
    with tokenizing(model):
        try:
            return model.kit.pieces.one(text)
        except InvalidRequestError as reason:
            raise ImpossibleError(f"{param}: {reason}", param) from reason


def one_token(model: LoadedModel, token: str | int, param: str) -> int:
    """The id of a token given by id, or by text that is one token, if need be behind a space."""
    number = token if isinstance(token, int) else single_token(model, token, param)
    check_vocabulary(model, [number], param)
    return number


def checked(model: LoadedModel, tokens: list[int], settings: Settings, param: str) -> list[int]:
    if not tokens:
        raise ImpossibleError(f"{param} contains no token; at least one is needed.", param)
    if len(tokens) > settings.max_prompt_tokens:
        raise LimitError(
            f"{param} has {len(tokens)} tokens; at most {settings.max_prompt_tokens} are taken.",
            param,
        )
    most = model.request.context_length
    if most is not None and len(tokens) > most:
        raise LimitError(
            f"{param} has {len(tokens)} tokens; {model.id} was loaded with a context_length of "
            f"{most}.",
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


@contextmanager
def tokenizing(model: LoadedModel) -> Iterator[None]:
    """Use a model's tokenizer, which one request at a time does.

    Raises UnavailableError for a client that has gone: nobody waits for its tokens.
    """
    gone = client().gone
    while not model.lock.acquire(timeout=SECONDS_BETWEEN_LOOKS):
        _check_there(gone)
    try:
        _check_there(gone)
        yield
    finally:
        model.lock.release()


def _check_there(gone: Callable[[], bool]) -> None:
    if gone():
        raise UnavailableError("The request was cancelled: its client is gone.")


def check_all_lengths(given: Iterable[object], settings: Settings, param: str) -> None:
    """Raise LimitError for texts that are too long together, before any is tokenised."""
    length = sum(len(each) for each in given if isinstance(each, str))
    most = settings.max_batch_characters
    if length > most:
        raise LimitError(
            f"{param} contains {length} characters in all; at most {most} are taken.", param
        )


def check_length(length: int, settings: Settings, param: str) -> None:
    most = settings.max_prompt_characters
    if length > most:
        raise LimitError(f"{param} contains {length} characters; at most {most} are taken.", param)
