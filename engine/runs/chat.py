"""Chat messages to token ids under a model's chat template, which may refuse them."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from transformers import PreTrainedTokenizerBase

from engine.errors import ChatTemplateError, InvalidRequestError
from engine.runs.tokenizer import Tokenizer

THINKING = ("enable_thinking", "thinking")
"""The variables by which templates let a model think, or not."""
OURS = {"messages", *inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters}
OURS -= {"tools", "documents"}
"""What renders a template, as opposed to a variable of it."""
GIVEN = {"raise_exception", "strftime_now"}
"""The functions that a template finds beside Jinja's own."""


@dataclass(frozen=True)
class ChatOptions:
    """How messages are rendered.

    `continue_final_message` leaves the last message open, for the model to continue;
    `add_generation_prompt` opens the model's message after it, by default if the last one is not
    continued. `enable_thinking` sets the variable of the template that lets the model think,
    `variables` any others. `tools` are functions that the model is told of, as OpenAI describes
    them.
    """

    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    enable_thinking: bool | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()


def chat_tokens(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], options: ChatOptions
) -> list[int]:
    """The token ids of messages with `role`, `content` (text, or parts of type text), perhaps
    `name` and what else the template reads.

    Raises ChatTemplateError with the template's own words if it does not render the messages, and
    InvalidRequestError for options that contradict each other or variables that it does not have.
    """
    prompted = options.add_generation_prompt
    if prompted is None:
        prompted = not options.continue_final_message
    if prompted and options.continue_final_message:
        raise InvalidRequestError(
            "continue_final_message: the last message is continued, or another one is begun by "
            "add_generation_prompt; not both"
        )
    if not tokenizer.has_chat_template:
        raise ChatTemplateError("the model has no chat template; a prompt of text needs none")
    variables = _variables(tokenizer, options)
    if options.tools:
        variables["tools"] = _told(tokenizer, options.tools)
    if any(message.get("tool_calls") for message in messages):
        _check_calls(tokenizer)
    plain = [_with_text(message) for message in messages]
    try:
        return list(
            tokenizer.apply_chat_template(
                plain,
                add_generation_prompt=prompted,
                continue_final_message=options.continue_final_message,
                **variables,
            )
        )
    except Exception as reason:  # whatever a template does, which is a program of its author
        raise ChatTemplateError(f"the chat template refuses them: {_words(reason)}") from reason


def _with_text(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message whose content is text, where it was parts of type text."""
    content = message.get("content")
    if isinstance(content, list) and all(part.get("type") == "text" for part in content):
        return {**message, "content": "".join(part["text"] for part in content)}
    return dict(message)


def _variables(tokenizer: Tokenizer, options: ChatOptions) -> dict[str, Any]:
    variables = dict(options.variables)
    known = _known_variables(tokenizer)
    for name in variables:
        if name in OURS or (known is not None and name not in known):
            there_are = ", ".join(sorted(known or ())) or "none that are known"
            raise InvalidRequestError(
                f"chat_template_kwargs: {name!r} is no variable of the chat template; there are: "
                f"{there_are}"
            )
    if options.enable_thinking is None:
        return variables
    if set(THINKING) & variables.keys():
        raise InvalidRequestError("enable_thinking: chat_template_kwargs says it too")
    switch = next((name for name in THINKING if known is None or name in known), None)
    if switch is not None:
        variables[switch] = options.enable_thinking
    elif options.enable_thinking:
        raise InvalidRequestError("enable_thinking: the chat template cannot turn thinking on")
    return variables


def _told(tokenizer: Tokenizer, tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Tools, for a template that tells the model of them."""
    template = tokenizer.chat_template
    has_own = isinstance(template, Mapping) and "tool_use" in template
    known = _known_variables(tokenizer)
    if not has_own and known is not None and "tools" not in known:
        raise InvalidRequestError("tools: the model's chat template does not know any")
    return list(tools)


def _check_calls(tokenizer: Tokenizer) -> None:
    """Raise ChatTemplateError for a template that would leave calls out."""
    template = tokenizer.chat_template
    texts = template.values() if isinstance(template, Mapping) else [template]
    if template is not None and not any("tool_calls" in text for text in texts if text):
        raise ChatTemplateError("the chat template does not render calls of tools")


def _known_variables(tokenizer: Tokenizer) -> set[str] | None:
    """What a template reads beside the messages; None if it is no Jinja template, or no valid
    one."""
    template = tokenizer.chat_template
    if isinstance(template, Mapping):
        template = template.get("default")
    if template is None:
        return None
    environment = jinja2.Environment(extensions=[_Generation, "jinja2.ext.loopcontrols"])
    try:
        found = meta.find_undeclared_variables(environment.parse(template))
    except jinja2.TemplateError:
        return None
    return found - OURS - GIVEN


class _Generation(Extension):
    """The tag of transformers around what the model writes, which renders as its content."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _words(reason: Exception) -> str:
    """What an error says; of one that says nothing, or only a key, its kind too."""
    told = str(reason)
    return told if isinstance(reason, jinja2.TemplateError | ValueError) and told else repr(reason)
