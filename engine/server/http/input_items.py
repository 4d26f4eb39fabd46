"""The input of OpenAI's responses, as chat messages."""

from collections.abc import Iterable, Sequence

from engine.contract import schemas as s
from engine.contract.schemas import ChatMessage


def messages_of(items: Sequence[s.InputItem]) -> list[ChatMessage]:
    """Messages, calls and their results. What the model thought, said and called between two
    others' messages is one message."""
    messages: list[ChatMessage] = []
    names: dict[str, str] = {}
    for item in items:
        if isinstance(item, s.InputCallOutput):
            messages.append(
                ChatMessage(
                    role="tool",
                    content=joined(item.output),
                    tool_call_id=item.call_id,
                    name=names.get(item.call_id),
                )
            )
        elif isinstance(item, s.InputMessage) and item.role != "assistant":
            messages.append(ChatMessage(role=item.role, content=joined(item.content)))
        else:
            if isinstance(item, s.InputCall):
                names[item.call_id] = item.name
            last = messages.pop() if messages and messages[-1].role == "assistant" else None
            messages.extend(_with(last, item))
    return [message for message in messages if message.content is not None or message.tool_calls]


def _with(
    last: ChatMessage | None, item: s.InputMessage | s.InputCall | s.InputReasoning
) -> list[ChatMessage]:
    """The model's last message with one more item; after another message of its own, a new one."""
    message = last or ChatMessage(role="assistant")
    if isinstance(item, s.InputCall):
        function = s.CalledFunction(name=item.name, arguments=item.arguments)
        call = s.CalledTool(id=item.call_id, function=function)
        return [message.model_copy(update={"tool_calls": [*message.tool_calls, call]})]
    if message.content is not None or message.tool_calls:
        return [message, *_with(None, item)]
    if isinstance(item, s.InputReasoning):
        thought = (message.reasoning_content or "") + "".join(each.text for each in item.content)
        return [message.model_copy(update={"reasoning_content": thought or None})]
    return [message.model_copy(update={"content": joined(item.content)})]


def joined(content: str | Iterable[s.InputText]) -> str:
    """Text, or parts of it."""
    return content if isinstance(content, str) else "".join(part.text for part in content)
