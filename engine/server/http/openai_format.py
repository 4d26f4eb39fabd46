"""OpenAI's bodies for a completion and a chat completion, whole and in stream chunks."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from engine.contract import schemas as s
from engine.runs.results import TokenChoice
from engine.server.http.deltas import Delta, PlacedCall, RatedToken
from engine.server.state.models import LoadedModel


@dataclass
class Reply(ABC):
    """What all replies share. `top_logprobs` is None where the client asked for no logprobs."""

    model: LoadedModel
    top_logprobs: int | None
    id: str = field(init=False)
    created: int = field(default_factory=lambda: int(time.time()))

    object = chunk_object = prefix = ""

    def __post_init__(self) -> None:
        self.id = f"{self.prefix}-{uuid4().hex}"

    def body(self, choices: list[dict], usage: s.Usage) -> dict[str, Any]:
        """The whole reply."""
        return self._frame(self.object, choices) | {"usage": usage.model_dump()}

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        """The stream event of a part of one choice."""
        return self._frame(self.chunk_object, [choice])

    def usage_chunk(self, usage: s.Usage) -> dict[str, Any]:
        """The event without choices that ends a stream, where usage was asked for."""
        return self._frame(self.chunk_object, []) | {"usage": usage.model_dump()}

    @abstractmethod
    def choice(self, index: int, whole: Delta, finish_reason: str) -> dict[str, Any]:
        """A choice of a whole reply."""

    @abstractmethod
    def delta(self, index: int, part: Delta, is_first: bool) -> dict[str, Any]:
        """A part of a choice, in a stream."""

    def calls(self, index: int, part: Delta) -> Iterator[dict[str, Any]]:
        """The parts of a choice that its calls are, in a stream, after its `delta`."""
        yield from ()

    @abstractmethod
    def end(self, index: int, finish_reason: str) -> dict[str, Any]:
        """The end of a choice, in a stream: a part without text."""

    def _frame(self, kind: str, choices: list[dict]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model.id,
            "choices": choices,
        }


class CompletionReply(Reply):
    object = chunk_object = "text_completion"
    prefix = "cmpl"

    def choice(self, index: int, whole: Delta, finish_reason: str | None) -> dict[str, Any]:
        logprobs = None if self.top_logprobs is None else self._logprobs(whole)
        return {
            "index": index,
            "text": whole.text,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }

    def delta(self, index: int, part: Delta, is_first: bool) -> dict[str, Any]:
        choice = self.choice(index, part, None)
        return choice if part.tokens else choice | {"logprobs": None}

    def end(self, index: int, finish_reason: str) -> dict[str, Any]:
        return {"index": index, "text": "", "logprobs": None, "finish_reason": finish_reason}

    def _logprobs(self, part: Delta) -> dict[str, Any]:
        keys = self.model.token_keys(placed.rated.token for placed in part.tokens)
        return s.CompletionLogprobs(
            tokens=keys,
            token_logprobs=[placed.rated.logprob for placed in part.tokens],
            top_logprobs=[
                self._likeliest(placed.rated, key)
                for placed, key in zip(part.tokens, keys, strict=True)
            ],
            text_offset=[placed.offset for placed in part.tokens],
        ).model_dump()

    def _likeliest(self, rated: RatedToken, key: str) -> dict[str, float] | None:
        """The likeliest tokens and the token itself; None where nothing predicts it."""
        if rated.logprob is None:
            return None
        possible = _possible(rated)
        keys = self.model.token_keys(choice.token for choice in possible)
        logprobs = (choice.logprob for choice in possible)
        return dict(zip(keys, logprobs, strict=True)) | {key: rated.logprob}


class ChatReply(Reply):
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"
    prefix = "chatcmpl"

    def choice(self, index: int, whole: Delta, finish_reason: str) -> dict[str, Any]:
        content = whole.text or (None if whole.calls else "")
        more: dict[str, Any] = {"reasoning_content": whole.reasoning} if whole.reasoning else {}
        if whole.calls:
            more["tool_calls"] = [_called(placed) for placed in whole.calls]
        return {
            "index": index,
            "message": {"role": "assistant", "content": content} | more,
            "logprobs": None if self.top_logprobs is None else self._logprobs(whole),
            "finish_reason": finish_reason,
        }

    def delta(self, index: int, part: Delta, is_first: bool) -> dict[str, Any]:
        role = {"role": "assistant"} if is_first else {}
        told = self.top_logprobs is not None and part.tokens
        more = {"reasoning_content": part.reasoning} if part.reasoning else {}
        text = {} if not part.text and (more or part.calls) else {"content": part.text}
        return {
            "index": index,
            "delta": role | text | more,
            "logprobs": self._logprobs(part) if told else None,
            "finish_reason": None,
        }

    def calls(self, index: int, part: Delta) -> Iterator[dict[str, Any]]:
        """Of each call its name, then its arguments."""
        for placed in part.calls:
            call = _called(placed)
            arguments = call["function"]["arguments"]
            call["function"]["arguments"] = ""
            for told in (call, {"function": {"arguments": arguments}}):
                yield {
                    "index": index,
                    "delta": {"tool_calls": [{"index": placed.index} | told]},
                    "logprobs": None,
                    "finish_reason": None,
                }

    def end(self, index: int, finish_reason: str) -> dict[str, Any]:
        ended = {"delta": {"content": ""}, "logprobs": None, "finish_reason": finish_reason}
        return {"index": index} | ended

    def _logprobs(self, part: Delta) -> dict[str, Any]:
        return s.ChatLogprobs(
            content=[
                s.TokenLogprob(
                    **self._described(placed.rated.token, placed.rated.logprob),
                    top_logprobs=[
                        s.TopLogprob(**self._described(choice.token, choice.logprob))
                        for choice in _possible(placed.rated)
                    ],
                )
                for placed in part.tokens
            ]
        ).model_dump()

    def _described(self, token: int, logprob: float | None) -> dict[str, Any]:
        (text,) = self.model.token_texts([token])
        return {"token": text, "logprob": logprob, "bytes": self.model.token_bytes(token)}


def _called(placed: PlacedCall) -> dict[str, Any]:
    call = placed.call
    function = s.FunctionCall(name=call.name, arguments=call.arguments)
    return s.ToolCall(id=call.id, function=function).model_dump()


def _possible(rated: RatedToken) -> list[TokenChoice]:
    """The likeliest tokens in a place, without those of probability 0."""
    return [choice for choice in rated.top_logprobs if choice.logprob > -math.inf]


def usage(
    prompts: Sequence[int], completions: Sequence[int], cached: Sequence[int], reasoning: int
) -> s.Usage:
    """The tokens of all prompts and of all choices; how many of the prompts' are cached, and how
    many of the choices' are thinking."""
    return s.Usage(
        prompt_tokens=sum(prompts),
        completion_tokens=sum(completions),
        total_tokens=sum(prompts) + sum(completions),
        prompt_tokens_details=s.PromptTokensDetails(cached_tokens=sum(cached)),
        completion_tokens_details=s.CompletionDetails(reasoning_tokens=reasoning),
    )
