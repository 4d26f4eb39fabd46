"""The output of one of OpenAI's responses: thinking, messages and calls as items, and the events
that tell of them as they come."""

from collections.abc import Iterator
from typing import Any, Literal
from uuid import uuid4

from engine.contract import schemas as s
from engine.server.http.deltas import Delta

Event = dict[str, Any]
Kind = Literal["reasoning", "message"]
PART = {"message": "output_text", "reasoning": "reasoning_text"}
"""The type of the one part of an item's content."""
MORE: dict[Kind, Event] = {"message": {"logprobs": []}, "reasoning": {}}
"""What the events of a text have beside it."""


class OutputItems:
    """Makes the items, in the order of the text; the last may be unfinished."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._open: Kind | None = None
        self._id = self._text = ""

    @property
    def text(self) -> str:
        """The text of all messages."""
        messages = (item for item in self.all if item["type"] == "message")
        return "".join(part["text"] for item in messages for part in item["content"])

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [item for item in self.all if item["type"] == "function_call"]

    def add(self, part: Delta) -> Iterator[Event]:
        """The events of a part of the reply."""
        if part.reasoning:
            yield from self._add("reasoning", part.reasoning)
        if part.text:
            yield from self._add("message", part.text)
        for placed in part.calls:
            yield from self._close("completed")
            yield from self._call(placed.call.id, placed.call.name, placed.call.arguments)

    def finish(self, status: str) -> Iterator[Event]:
        """The events of the end; a reply without any text has a message without any."""
        if not self.all and self._open is None:
            yield from self._begin("message")
        yield from self._close(status)

    def _add(self, kind: Kind, text: str) -> Iterator[Event]:
        if self._open != kind:
            yield from self._close("completed")
            yield from self._begin(kind)
        self._text += text
        yield {"type": f"response.{PART[kind]}.delta", "delta": text} | self._place | MORE[kind]

    def _begin(self, kind: Kind) -> Iterator[Event]:
        self._open, self._text = kind, ""
        self._id = f"{'msg' if kind == 'message' else 'rs'}_{uuid4().hex}"
        yield self._told("response.output_item.added", self._item("in_progress", []))
        part = self._part("")
        yield {"type": "response.content_part.added", "part": part} | self._place

    def _close(self, status: str) -> Iterator[Event]:
        kind, text = self._open, self._text
        if kind is None:
            return
        done = {"type": f"response.{PART[kind]}.done", "text": text}
        yield done | self._place | MORE[kind]
        yield {"type": "response.content_part.done", "part": self._part(text)} | self._place
        item = self._item(status, [self._part(text)])
        yield self._told("response.output_item.done", item)
        self.all.append(item)
        self._open = None

    def _call(self, call_id: str, name: str, arguments: str) -> Iterator[Event]:
        item_id = f"fc_{uuid4().hex}"
        call = s.OutputCall(
            id=item_id, status="completed", call_id=call_id, name=name, arguments=arguments
        ).model_dump()
        begun = call | {"status": "in_progress", "arguments": ""}
        place = {"item_id": item_id, "output_index": len(self.all)}
        kind = "response.function_call_arguments"
        yield self._told("response.output_item.added", begun)
        yield {"type": f"{kind}.delta", "delta": arguments} | place
        yield {"type": f"{kind}.done", "name": name, "arguments": arguments} | place
        yield self._told("response.output_item.done", call)
        self.all.append(call)

    def _told(self, kind: str, item: dict[str, Any]) -> Event:
        return {"type": kind, "output_index": len(self.all), "item": item}

    @property
    def _place(self) -> Event:
        return {"item_id": self._id, "output_index": len(self.all), "content_index": 0}

    def _part(self, text: str) -> dict[str, Any]:
        if self._open == "message":
            return s.OutputText(text=text).model_dump()
        return s.OutputReasoningText(text=text).model_dump()

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        item: dict[str, Any] = {"id": self._id, "status": status, "content": content}
        if self._open == "message":
            return {"type": "message", "role": "assistant"} | item
        return {"type": "reasoning", "summary": []} | item
