"""OpenAI's responses: a chat whose conversation is kept, whole or as named events."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from engine.contract import schemas as s
from engine.server.errors import ImpossibleError
from engine.server.http.forms import Fields
from engine.server.http.input_items import messages_of
from engine.server.http.output_items import OutputItems
from engine.server.http.requests import client
from engine.server.http.responses import event_stream, named_event
from engine.server.http.routes.generation import Answer, chat_choices
from engine.server.http.routes.models import requested_model
from engine.server.service import Service
from engine.server.state.conversations import Conversation, continued, new_response_id

FIELDS = Fields(messages="input", schema="text.format.schema", form="text.format")


def respond(service: Service, request: s.ResponseRequest) -> Answer:
    reply = _Reply(service, request)
    job = service.worker.submit(reply.choices.run, client())
    if request.stream:
        return event_stream(reply.events(job), job, named_event)
    with closing(job):
        for _ in reply.told(job):
            pass
        return reply.whole()


class _Reply:
    """One reply, as it comes."""

    def __init__(self, service: Service, request: s.ResponseRequest) -> None:
        self._service = service
        self._request = request
        self._model = requested_model(service, request.model)
        self._messages = _conversation(service, request)
        self.choices = chat_choices(service, _chat(request, self._messages), FIELDS)
        self._items = OutputItems()
        self._id = new_response_id()
        self._created = int(time.time())

    def told(self, generated: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """The events of the items, as they come."""
        for part in self.choices.parts(generated):
            yield from self._items.add(part)
        yield from self._items.finish(self._status)

    @property
    def _status(self) -> str:
        (choice,) = self.choices.all
        return "incomplete" if choice.finish_reason == "length" else "completed"

    def whole(self) -> dict[str, Any]:
        """The finished reply; its conversation is kept, if it is to be."""
        reply = self.choices.whole()
        usage = reply["usage"]
        if self._request.store:
            self._service.conversations.keep(self._id, (*self._messages, self._said()))
        status = self._status
        told = s.ResponseUsage(
            input_tokens=usage["prompt_tokens"],
            input_tokens_details=s.InputDetails(
                cached_tokens=usage["prompt_tokens_details"]["cached_tokens"]
            ),
            output_tokens=usage["completion_tokens"],
            output_tokens_details=s.OutputDetails(**usage["completion_tokens_details"]),
            total_tokens=usage["total_tokens"],
        )
        ended_early = status == "incomplete"
        reason = s.IncompleteDetails(reason="max_output_tokens") if ended_early else None
        about: dict[str, Any] = {
            name: reply[name] for name in ("steering", "warnings") if name in reply
        }
        return self._body(status, self._items.all, told, reason, about)

    def events(self, generated: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """Each event of a stream, numbered."""
        for number, event in enumerate(self._unnumbered(generated)):
            yield event | {"sequence_number": number}

    def _unnumbered(self, generated: Iterable[Any]) -> Iterator[dict[str, Any]]:
        begun = self._body("in_progress", [])
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        yield from self.told(generated)
        reply = self.whole()
        yield {"type": f"response.{reply['status']}", "response": reply}

    def _said(self) -> s.ChatMessage:
        """The reply as a message of the conversation."""
        calls = [
            s.CalledTool(
                id=call["call_id"],
                function=s.CalledFunction(name=call["name"], arguments=call["arguments"]),
            )
            for call in self._items.calls
        ]
        return s.ChatMessage(role="assistant", content=self._items.text, tool_calls=calls)

    def _body(
        self,
        status: str,
        output: list[dict[str, Any]],
        usage: s.ResponseUsage | None = None,
        reason: s.IncompleteDetails | None = None,
        about: dict[str, Any] | None = None,
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
                "parallel_tool_calls": request.parallel_tool_calls,
                "tool_choice": request.tool_choice,
                "tools": request.tools,
                "metadata": request.metadata or {},
                "store": request.store,
                "output": output,
                "usage": usage,
                **(about or {}),
            }
        ).model_dump()


def _chat(request: s.ResponseRequest, messages: Conversation) -> s.ChatCompletionRequest:
    """The chat completion that gives the reply."""
    choice = request.tool_choice
    return s.ChatCompletionRequest(
        model=request.model,
        messages=list(messages),
        max_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        response_format=_format(request.text),
        tools=[
            s.ToolSpec(
                type="function", function=s.FunctionSpec(**tool.model_dump(exclude={"type"}))
            )
            for tool in request.tools
        ],
        tool_choice=s.NamedTool(type="function", function=s.FunctionReference(name=choice.name))
        if isinstance(choice, s.FunctionChoice)
        else choice,
        parallel_tool_calls=request.parallel_tool_calls,
    )


def _format(text: s.TextOptions | None) -> s.ResponseFormat:
    if text is None:
        return s.TextFormat(type="text")
    wanted = text.format
    if not isinstance(wanted, s.SchemaFormat):
        return wanted
    named = s.NamedSchema(name=wanted.name, schema=wanted.schema_)
    return s.JsonSchemaFormat(type="json_schema", json_schema=named)


def _conversation(service: Service, request: s.ResponseRequest) -> Conversation:
    said = request.input
    items = [s.InputMessage(role="user", content=said)] if isinstance(said, str) else said
    earlier = service.conversations.get(request.previous_response_id)
    conversation = continued(earlier, request.instructions, messages_of(items))
    if not conversation:
        raise ImpossibleError("input: it contains no message.", "input")
    return conversation
