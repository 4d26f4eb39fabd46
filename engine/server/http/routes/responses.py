"""OpenAI's responses: a chat whose conversation is kept, whole or as named events."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

from engine.contract import schemas as s
from engine.server.http.requests import client
from engine.server.http.responses import event_stream, named_event
from engine.server.http.routes.generation import Answer, chat_choices
from engine.server.http.routes.models import requested_model
from engine.server.service import Service
from engine.server.state.conversations import Conversation, continued, new_response_id


def respond(service: Service, request: s.ResponseRequest) -> Answer:
    reply = _Reply(service, request)
    job = service.worker.submit(reply.choices.run, client())
    if request.stream:
        return event_stream(reply.events(job), job, named_event)
    with closing(job):
        for _ in reply.choices.parts(job):
            pass
        return reply.whole()


class _Reply:
    """One reply, as it comes."""

    def __init__(self, service: Service, request: s.ResponseRequest) -> None:
        self._service = service
        self._request = request
        self._model = requested_model(service, request.model)
        self._messages = _conversation(service, request)
        self.choices = chat_choices(
            service,
            s.ChatCompletionRequest(
                model=request.model,
                messages=list(self._messages),
                max_tokens=request.max_output_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
            ),
            "input",
        )
        self._id, self._message_id = new_response_id(), f"msg_{uuid4().hex}"
        self._created = int(time.time())

    def whole(self) -> dict[str, Any]:
        """The finished reply; its conversation is kept, if it is to be."""
        body = self.choices.whole()
        choice, usage = body["choices"][0], body["usage"]
        text = choice["message"]["content"]
        if self._request.store:
            answer = s.ChatMessage(role="assistant", content=text)
            self._service.conversations.keep(self._id, (*self._messages, answer))
        ended_early = choice["finish_reason"] == "length"
        status = "incomplete" if ended_early else "completed"
        told = s.ResponseUsage(
            input_tokens=usage["prompt_tokens"],
            input_tokens_details=s.InputDetails(cached_tokens=0),
            output_tokens=usage["completion_tokens"],
            output_tokens_details=s.OutputDetails(reasoning_tokens=0),
            total_tokens=usage["total_tokens"],
        )
        reason = s.IncompleteDetails(reason="max_output_tokens") if ended_early else None
        return self._body(status, [self._message(status, text)], told, reason)

    def events(self, generated: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """Each event of a stream, numbered."""
        for number, event in enumerate(self._unnumbered(generated)):
            yield event | {"sequence_number": number}

    def _unnumbered(self, generated: Iterable[Any]) -> Iterator[dict[str, Any]]:
        begun = self._body("in_progress", [])
        place = {"item_id": self._message_id, "output_index": 0, "content_index": 0}
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        message = self._message("in_progress")
        yield {"type": "response.output_item.added", "output_index": 0, "item": message}
        yield {"type": "response.content_part.added", "part": _text(""), **place}
        for part in self.choices.parts(generated):
            if part.text:
                delta = {"delta": part.text, "logprobs": []}
                yield {"type": "response.output_text.delta"} | place | delta
        reply = self.whole()
        (message,) = reply["output"]
        text = message["content"][0]["text"]
        yield {"type": "response.output_text.done", "text": text, "logprobs": [], **place}
        yield {"type": "response.content_part.done", "part": _text(text), **place}
        yield {"type": "response.output_item.done", "output_index": 0, "item": message}
        yield {"type": f"response.{reply['status']}", "response": reply}

    def _message(self, status: str, text: str | None = None) -> dict[str, Any]:
        content = [] if text is None else [_text(text)]
        return {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _body(
        self,
        status: str,
        output: list[dict[str, Any]],
        usage: s.ResponseUsage | None = None,
        reason: s.IncompleteDetails | None = None,
    ) -> dict[str, Any]:
        request = self._request
        return s.ModelResponse.model_validate(
            {
                "id": self._id,
                "created_at": self._created,
                "model": self._model.id,
                "status": status,
                "incomplete_details": reason,
                "instructions": request.instructions,
                "previous_response_id": request.previous_response_id,
                "max_output_tokens": request.max_output_tokens,
                "temperature": request.temperature,
                "top_p": request.top_p,
                "metadata": request.metadata or {},
                "store": request.store,
                "output": output,
                "usage": usage,
            }
        ).model_dump()


def _conversation(service: Service, request: s.ResponseRequest) -> Conversation:
    said = request.input
    messages = [s.InputMessage(role="user", content=said)] if isinstance(said, str) else said
    new = [s.ChatMessage(role=each.role, content=_content(each)) for each in messages]
    earlier = service.conversations.get(request.previous_response_id)
    return continued(earlier, request.instructions, new)


def _content(message: s.InputMessage) -> str:
    content = message.content
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _text(text: str) -> dict[str, Any]:
    return s.OutputText(text=text).model_dump()
