"""Version 1's chat: conversations that the server keeps, and named events in its streams."""

from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Any

from engine.contract import schemas as s
from engine.server.http.deltas import Delta
from engine.server.http.forms import Fields
from engine.server.http.routes.generation import chat_choices
from engine.server.http.routes.models import requested_model
from engine.server.lm_studio.models import check_context, context_length
from engine.server.lm_studio.schemas import ChatRequest
from engine.server.service import Service
from engine.server.state.conversations import Conversation, continued, new_response_id

Event = dict[str, Any]
FIELDS = Fields(messages="input")


class Chat:
    """One request, its conversation so far, and its reply as it comes."""

    def __init__(self, service: Service, request: ChatRequest) -> None:
        """Raises UnknownModelError, UnknownResponseError, ImpossibleError, and what a chat
        completion does."""
        self._conversations = service.conversations
        self._request = request
        before, started = service.models.all(), perf_counter()
        model = requested_model(service, request.model, request.context_length)
        self._load_seconds = None if model in before else perf_counter() - started
        check_context(request.context_length, context_length(service, model))
        self._messages = self._conversation()
        options: dict[str, Any] = {
            "model": model.id,
            "messages": list(self._messages),
            "max_tokens": request.max_output_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "min_p": request.min_p,
            "repetition_penalty": request.repeat_penalty,
            "enable_thinking": None if request.reasoning is None else request.reasoning == "on",
        }
        self.choices = chat_choices(service, s.ChatCompletionRequest(**options), FIELDS)
        self._model_id = model.id

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """The whole reply, from the chat completion's."""
        message, usage, stats = body["choices"][0]["message"], body["usage"], body["stats"]
        text, thought = message["content"], message.get("reasoning_content")
        output = [{"type": "reasoning", "content": thought}] if thought else []
        reply: dict[str, Any] = {
            "model_instance_id": self._model_id,
            "output": [*output, {"type": "message", "content": text}],
            "stats": {
                "input_tokens": usage["prompt_tokens"],
                "total_output_tokens": usage["completion_tokens"],
                "reasoning_output_tokens": usage["completion_tokens_details"]["reasoning_tokens"],
                "tokens_per_second": stats["tokens_per_second"],
                "time_to_first_token_seconds": stats["time_to_first_token"],
            },
        }
        for name in ("steering", "warnings"):
            if name in body:
                reply[name] = body[name]
        if self._load_seconds is not None:
            reply["stats"]["model_load_time_seconds"] = self._load_seconds
        if self._request.store:
            answer = s.ChatMessage(role="assistant", content=text)
            reply["response_id"] = new_response_id()
            self._conversations.keep(reply["response_id"], (*self._messages, answer))
        return reply

    def events(self, generated: Iterable[Any]) -> Iterator[Event]:
        """The reply's events as the tokens come; the last has the whole reply."""
        yield {"type": "chat.start", "model_instance_id": self._model_id}
        if self._load_seconds is not None:
            loaded = {"model_instance_id": self._model_id}
            yield {"type": "model_load.start"} | loaded
            yield {"type": "model_load.end", "load_time_seconds": self._load_seconds} | loaded
        yield {"type": "prompt_processing.start"}
        yield from _told(self.choices.parts(generated))
        yield {"type": "chat.end", "result": self.reply(self.choices.whole())}

    def _conversation(self) -> Conversation:
        said = self._request.input
        text = said if isinstance(said, str) else "\n".join(item.content for item in said)
        earlier = self._conversations.get(self._request.previous_response_id)
        new = [s.ChatMessage(role="user", content=text)]
        return continued(earlier, self._request.system_prompt, new)


def _told(parts: Iterable[Delta]) -> Iterator[Event]:
    """The events of thinking and of the message, each with a beginning and an end."""
    is_first, current = True, None
    for part in parts:
        if is_first:
            yield {"type": "prompt_processing.end"}
            is_first = False
        for kind, text in (("reasoning", part.reasoning), ("message", part.text)):
            if text:
                yield from _changed(current, kind)
                current = kind
                yield {"type": f"{kind}.delta", "content": text}
    if current != "message":
        yield from _changed(current, "message")
    yield {"type": "message.end"}


def _changed(current: str | None, kind: str) -> Iterator[Event]:
    if current != kind:
        if current is not None:
            yield {"type": f"{current}.end"}
        yield {"type": f"{kind}.start"}
