"""The form that a request wants its texts to have: a grammar, and how messages are taken apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.contract import schemas as s
from engine.errors import GrammarError
from engine.runs import grammars
from engine.runs.constrained_message import ConstrainedMessage
from engine.runs.grammars import CompiledGrammar, Grammar
from engine.runs.messages import FreeMessage, MessageParts
from engine.runs.thinking import ThinkingMarkers
from engine.runs.tools import Tool, calls_grammar, format_of
from engine.server.errors import ImpossibleError, ImpossibleGrammarError
from engine.server.state.models import LoadedModel

ANY_OBJECT = {"type": "object"}
UNREADABLE = (
    "the form in which this model writes calls is none that mlx-lm reads: calls, if any, are in "
    "the text"
)


def _no_message() -> MessageParts | None:
    return None


@dataclass(frozen=True)
class Form:
    """What texts are held to, and what takes a message apart; None if a text is none.

    `markers` are those of the thinking that is counted, `notes` what the reply has to say.
    """

    grammar: CompiledGrammar | None = None
    message: Callable[[], MessageParts | None] = _no_message
    markers: ThinkingMarkers | None = None
    notes: tuple[str, ...] = ()


FREE = Form()


@dataclass(frozen=True)
class Fields:
    """What a kind of request calls the fields that errors are about."""

    messages: str = "messages"
    form: str = "response_format"
    schema: str = "response_format.json_schema.schema"


OF_CHAT = Fields()


def completion_form(model: LoadedModel, request: s.Structured) -> Form:
    """The form of a completion. Raises ImpossibleError for a grammar that cannot be."""
    answer, param = _answer(request, OF_CHAT)
    return Form(_compiled(model, answer, param)) if answer else FREE


def tools_of(request: s.WithTools) -> list[Tool]:
    """The tools that the model is told of: none, where it is not to call any. Raises
    ImpossibleError."""
    if request.tool_choice == "none":
        return []
    named = [spec.function for spec in request.tools]
    names = [each.name for each in named]
    if len(set(names)) < len(names):
        raise ImpossibleError(
            f"tools: of the names {', '.join(names)} one is there twice.", "tools"
        )
    try:
        return [
            Tool(
                each.name,
                each.description,
                ANY_OBJECT if each.parameters is None else each.parameters,
                each.strict,
            )
            for each in named
        ]
    except GrammarError as reason:
        raise ImpossibleGrammarError(f"tools: {reason}.", "tools") from reason


def message_form(
    model: LoadedModel,
    request: s.ChatCompletionRequest,
    prompt: Sequence[int],
    tools: Sequence[Tool],
    names: Fields,
) -> Form:
    """The form of a chat's messages after a prompt. Raises ImpossibleError."""
    tokenizer = model.kit.tokenizer
    markers = ThinkingMarkers.of(tokenizer)
    is_thinking = markers is not None and markers.are_open(prompt)
    several = request.parallel_tool_calls
    answer, param = _answer(request, names)
    called = _called(request, tools)
    if called or answer:
        possible = called or tools
        if possible:
            rule = None if called or answer is None else _rule(answer, param)
            answer, param = calls_grammar(tokenizer, possible, several, rule), "tools"
        assert answer is not None
        think_end = getattr(tokenizer, "think_end", None) if is_thinking else None
        return Form(
            _compiled(model, answer, param),
            lambda: ConstrainedMessage(think_end, possible),
            markers,
        )
    form = format_of(tokenizer) if tools else None
    return Form(
        None,
        lambda: FreeMessage(
            tokenizer, is_thinking=is_thinking, form=form, tools=tools, several=several
        ),
        markers,
        (UNREADABLE,) if tools and form is None else (),
    )


def _called(request: s.WithTools, tools: Sequence[Tool]) -> list[Tool]:
    """The tools of which one has to be called."""
    choice = request.tool_choice
    if isinstance(choice, s.NamedTool):
        called = [tool for tool in tools if tool.name == choice.function.name]
    else:
        called = list(tools) if choice == "required" else []
    if not called and choice not in ("none", "auto"):
        there = ", ".join(tool.name for tool in tools) or "none"
        raise ImpossibleError(f"tool_choice: no such tool; there are: {there}.", "tool_choice")
    return called


def _rule(answer: Grammar, param: str) -> str:
    if answer.rule is None:
        raise ImpossibleError(f"{param}: it does not go with tools that may be called.", param)
    return answer.rule


def _answer(request: s.Structured, names: Fields) -> tuple[Grammar | None, str]:
    """The grammar that a request wants its text to have, and the field that says so."""
    wanted, other = request.response_format, request.structured_outputs
    if other is not None and not isinstance(wanted, s.TextFormat):
        raise ImpossibleError(
            "structured_outputs: response_format says already what the text is to be.",
            "structured_outputs",
        )
    if isinstance(wanted, s.JsonSchemaFormat):
        return _json(wanted.json_schema.schema_, names.schema)
    if isinstance(wanted, s.JsonObjectFormat):
        return _json(ANY_OBJECT, names.form)
    if other is None:
        return None, ""
    if other.json_ is not None:
        return _json(other.json_, "structured_outputs.json")
    if other.regex is not None:
        return grammars.regex(other.regex), "structured_outputs.regex"
    if other.choice is not None:
        return grammars.choice(other.choice), "structured_outputs.choice"
    return grammars.lark(other.grammar or ""), "structured_outputs.grammar"


def _json(schema: dict[str, Any], param: str) -> tuple[Grammar, str]:
    try:
        return grammars.json_schema(schema), param
    except GrammarError as reason:
        raise ImpossibleGrammarError(f"{param}: {reason}.", param) from reason


def _compiled(model: LoadedModel, grammar: Grammar, param: str) -> CompiledGrammar:
    with model.lock:
        compiler = model.kit.grammars
    try:
        return compiler.compiled(grammar)
    except GrammarError as reason:
        raise ImpossibleGrammarError(f"{param}: {reason}.", param) from reason
