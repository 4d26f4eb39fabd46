"""OpenAI's bodies for a completion and a chat completion, whole and in stream chunks."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from engine.contract import schemas as s
from engine.runs.results import GenerationResult
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

    def body(self, results: Sequence[GenerationResult]) -> dict[str, Any]:
        """The whole reply."""
        choice = self._choice(results) | {"finish_reason": results[-1].finish_reason}
        return self._frame(self.object, [choice]) | {"usage": usage(results[-1])}

    def chunk(self, result: GenerationResult) -> dict[str, Any]:
        """The stream event of one token."""
        choice = self._delta(result) | {"finish_reason": result.finish_reason}
        return self._frame(self.chunk_object, [choice])

    def usage_chunk(self, last: GenerationResult) -> dict[str, Any]:
        """The event without choices that ends a stream, where usage was asked for."""
        return self._frame(self.chunk_object, []) | {"usage": usage(last)}

    def _frame(self, kind: str, choices: list[dict]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model.id,
            "choices": choices,
        }

    def _alternatives(self, result: GenerationResult) -> Iterable[tuple[str, float]]:
        """Text and log-probability of the likeliest tokens at this place."""
        texts = self.model.token_texts(choice.token for choice in result.top_logprobs)
        return zip(texts, (choice.logprob for choice in result.top_logprobs), strict=True)

    @abstractmethod
    def _choice(self, results: Sequence[GenerationResult]) -> dict[str, Any]:
        """The only choice of a whole reply."""

    @abstractmethod
    def _delta(self, result: GenerationResult) -> dict[str, Any]:
        """The only choice of one token's event."""


@dataclass
class CompletionReply(Reply):
    object = chunk_object = "text_completion"
    prefix = "cmpl"
    offset: int = 0

    def _choice(self, results: Sequence[GenerationResult]) -> dict[str, Any]:
        text = "".join(result.text for result in results)
        return {"index": 0, "text": text, "logprobs": self._logprobs(results)}

    def _delta(self, result: GenerationResult) -> dict[str, Any]:
        return self._choice([result])

    def _logprobs(self, results: Sequence[GenerationResult]) -> dict[str, Any] | None:
        if self.top_logprobs is None:
            return None
        offsets = []
        for result in results:
            offsets.append(self.offset)
            self.offset += len(result.text)
        return s.CompletionLogprobs(
            tokens=self.model.token_texts([result.token for result in results]),
            token_logprobs=[result.logprob for result in results],
            top_logprobs=[dict(self._alternatives(result)) for result in results],
            text_offset=offsets,
        ).model_dump()


class ChatReply(Reply):
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"
    prefix = "chatcmpl"

    def _choice(self, results: Sequence[GenerationResult]) -> dict[str, Any]:
        text = "".join(result.text for result in results)
        message = {"role": "assistant", "content": text}
        return {"index": 0, "message": message, "logprobs": self._logprobs(results)}

    def _delta(self, result: GenerationResult) -> dict[str, Any]:
        delta = {"role": "assistant", "content": result.text}
        return {"index": 0, "delta": delta, "logprobs": self._logprobs([result])}

    def _logprobs(self, results: Sequence[GenerationResult]) -> dict[str, Any] | None:
        if self.top_logprobs is None:
            return None
        texts = self.model.token_texts([result.token for result in results])
        return s.ChatLogprobs(
            content=[
                s.TokenLogprob(
                    token=text,
                    logprob=result.logprob,
                    top_logprobs=[
                        s.TopLogprob(token=other, logprob=logprob)
                        for other, logprob in self._alternatives(result)
                    ],
                )
                for text, result in zip(texts, results, strict=True)
            ]
        ).model_dump()


def usage(last: GenerationResult) -> dict[str, int]:
    return s.Usage(
        prompt_tokens=last.prompt_tokens,
        completion_tokens=last.completion_tokens,
        total_tokens=last.prompt_tokens + last.completion_tokens,
    ).model_dump()
