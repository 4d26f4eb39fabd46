"""Functions that a model may ask for, and how it writes its calls of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

import jsonschema_rs
from mlx_lm.tool_parsers import json_tools

from engine.errors import GrammarError
from engine.runs.grammars import Grammar, embedded, quoted
from engine.runs.tokenizer import Tokenizer

Parser = Callable[[str, Any], Any]
ANYTHING: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True)
class Tool:
    """A function: the JSON schema of its parameters, and whether calls have to be valid by it.

    Raises GrammarError for a schema that is none, or whose references lead elsewhere.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=lambda: ANYTHING)
    strict: bool = False
    _validator: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            validator = jsonschema_rs.validator_for(dict(self.parameters), retriever=_refused)
        except Exception as error:  # whatever is wrong with a schema that a client made up
            raise GrammarError(f"the parameters of {self.name!r}: {_words(error)}") from error
        object.__setattr__(self, "_validator", validator)

    @property
    def described(self) -> dict[str, Any]:
        """It as OpenAI describes it, for chat templates."""
        function: dict[str, Any] = {"name": self.name}
        if self.description is not None:
            function["description"] = self.description
        return {"type": "function", "function": function | {"parameters": dict(self.parameters)}}

    def takes(self, arguments: Any) -> bool:
        """Whether it can be called with these arguments."""
        if not isinstance(arguments, dict):
            return False
        return not self.strict or cast(bool, self._validator.is_valid(arguments))


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asks for: its arguments are an object as JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class CallFormat:
    """How calls are written: what is between `start` and `end` is what `parser` reads.

    Without an `end` a call goes on to the end of the text, where there may be several.
    """

    start: str
    end: str
    parser: Parser

    def calls(self, text: str, tools: Sequence[Tool]) -> list[ToolCall] | None:
        """The calls that a text between the markers is; None if it is not all calls of these
        tools, as of one that ends too early."""
        named = {tool.name: tool for tool in tools}
        try:
            found = self.parser(text, [tool.described for tool in tools])
        except Exception:  # whatever mlx-lm's parsers make of a text that they do not expect
            return None
        found = found if isinstance(found, list) else [found]
        calls = [_call(each, named) for each in found]
        return [call for call in calls if call is not None] if calls and all(calls) else None


HERMES = CallFormat(
    json_tools.tool_call_start, json_tools.tool_call_end, json_tools.parse_tool_call
)
"""JSON between `<tool_call>` and `</tool_call>`, as many models write it."""


def format_of(tokenizer: Tokenizer) -> CallFormat | None:
    """The form that a model was trained on, by mlx-lm; None if it knows none."""
    known: Any = tokenizer
    if not getattr(known, "has_tool_calling", False):
        return None
    return CallFormat(known.tool_call_start, known.tool_call_end or "", known.tool_parser)


def calls_grammar(
    tokenizer: Tokenizer, tools: Sequence[Tool], several: bool, answer: str | None = None
) -> Grammar:
    """One call of some tools, or `several`, in Hermes' form; or, with the rule of an `answer`,
    that in place of calls."""
    calls = " | ".join(f"call_{at}" for at in range(len(tools)))
    start, end = (_marker(tokenizer, each) for each in (HERMES.start, HERMES.end))
    rules = [
        f"calls: call{' (NEXT call)*' if several else ''}",
        f'call: {start} "\\n" ({calls}) "\\n" {end}',
        *(_call_rule(at, tool) for at, tool in enumerate(tools)),
        *(['NEXT: "\\n"'] if several else []),
        *([f"answer: {answer}"] if answer else []),
    ]
    return Grammar("answer | calls" if answer else "calls", "\n".join(rules) + "\n")


def _call_rule(at: int, tool: Tool) -> str:
    parameters = {**tool.parameters, "type": "object"}
    begin = f'{{"name": {json.dumps(tool.name)}, "arguments": '
    return f'call_{at}: {quoted(begin)} arguments_{at} "}}"\narguments_{at}: {embedded(parameters)}'


def _marker(tokenizer: Tokenizer, text: str) -> str:
    """A marker in a grammar: the special token of that name, or its text."""
    special = [token for token, each in tokenizer.added_tokens_decoder.items() if each.special]
    found = [token for token in special if tokenizer.convert_ids_to_tokens(token) == text]
    return f"<[{found[0]}]>" if found else quoted(text)


def _call(found: Any, tools: Mapping[str, Tool]) -> ToolCall | None:
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    tool = tools.get(found["name"])
    arguments = found.get("arguments")
    if tool is None or not tool.takes(arguments):
        return None
    call_id = found.get("id")
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # what Python's literals have and JSON does not
        return None
    return ToolCall(call_id if isinstance(call_id, str) else new_call_id(), tool.name, text)


def new_call_id() -> str:
    """An id that no other call has."""
    return f"call_{uuid4().hex[:24]}"


def _refused(address: str) -> Any:
    raise ValueError(f"{address} is not fetched")


def _words(error: Exception) -> str:
    return str(error).partition("\n")[0]
