"""Chat messages to token ids, within the limits."""

import json
from collections.abc import Sequence
from typing import Any

from engine.contract.schemas import ChatMessage, Templated
from engine.errors import ChatTemplateError, InvalidRequestError
from engine.runs.chat import ChatOptions
from engine.runs.kit import tokenize
from engine.runs.tools import Tool
from engine.server.errors import ImpossibleError
from engine.server.http.prompts import check_length, tokenizing
from engine.server.state.models import LoadedModel
from engine.server.state.settings import Settings

OF_ROLES = {"tool_calls": "assistant", "reasoning_content": "assistant", "tool_call_id": "tool"}
"""Fields that messages of one role alone may have."""


def chat_tokens(
    model: LoadedModel,
    messages: list[ChatMessage],
    request: Templated,
    settings: Settings,
    *,
    special: bool,
    param: str = "messages",
    tools: Sequence[Tool] = (),
) -> list[int]:
    """The token ids of messages under the chat template, as a request wants it rendered.

    Raises ImpossibleError, on the field that has the messages, with what the template says if it
    refuses them.
    """
    described = [tool.described for tool in tools]
    told = len(json.dumps(described)) if described else 0
    check_length(sum(map(_length, messages)) + told, settings, param)
    options = ChatOptions(
        request.add_generation_prompt,
        request.continue_final_message,
        request.enable_thinking,
        request.chat_template_kwargs,
        described,
    )
    plain = [_plain(message, f"{param}.{at}") for at, message in enumerate(messages)]
    try:
        with tokenizing(model):
            return tokenize(model.kit, plain, add_special_tokens=special, chat=options)
    except ChatTemplateError as reason:
        raise ImpossibleError(f"{param}: {reason}", param) from reason
    except InvalidRequestError as reason:  # which begins with the field's name
        raise ImpossibleError(str(reason), str(reason).partition(":")[0]) from reason


def _plain(message: ChatMessage, param: str) -> dict[str, Any]:
    """A message as chat templates read it: what was called with as an object, no content as an
    empty one."""
    for name, role in OF_ROLES.items():
        if getattr(message, name) and message.role != role:
            raise ImpossibleError(f"{param}.{name}: only a message of role {role} has it.", param)
    fields = message.model_dump(exclude_none=True, exclude_defaults=True)
    if message.content is None:
        if not message.tool_calls:
            raise ImpossibleError(f"{param}.content: a message without calls has one.", param)
        fields["content"] = ""
    for at, call in enumerate(fields.get("tool_calls", ())):
        function = call["function"]
        function["arguments"] = _arguments(
            function["arguments"], f"{param}.tool_calls.{at}.function.arguments"
        )
        call["type"] = "function"
    return fields


def _arguments(text: str, param: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise ImpossibleError(f"{param}: not an object as JSON.", param)
    return arguments


def _length(message: ChatMessage) -> int:
    content = message.content or ""
    called = sum(len(call.function.arguments) for call in message.tool_calls)
    more = called + len(message.reasoning_content or "")
    if isinstance(content, str):
        return len(content) + more
    return sum(len(part.text) for part in content) + more
