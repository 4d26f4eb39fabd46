"""A message is taken apart alike however its text comes in pieces, and no text is lost."""

import importlib
import json
from types import SimpleNamespace

import pytest

from engine.errors import GrammarError
from engine.runs.constrained_message import ConstrainedMessage
from engine.runs.messages import FreeMessage, Parts
from engine.runs.thinking import ThinkingCount, ThinkingMarkers
from engine.runs.tools import CallFormat, Tool, format_of

WEATHER = Tool(
    "get_weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
ADD = Tool("add", parameters={"type": "object", "properties": {"a": {"type": "integer"}}})
TOOLS = [WEATHER, ADD]
PARIS = ("get_weather", {"city": "Paris é", "days": 2})
ONE = ("add", {"a": 1})
WRITTEN = {
    "json_tools": (
        'I look.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris é", "days": 2}}'
        '\n</tool_call>\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
        [PARIS, ONE],
    ),
    "mistral": (
        'I look.[TOOL_CALLS]get_weather[ARGS]{"city": "Paris é", "days": 2}add[ARGS]{"a": 1}',
        [PARIS, ONE],
    ),
    "qwen3_coder": (
        "I look.\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis é\n</parameter>\n"
        "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
        [PARIS],
    ),
    "glm47": (
        "I look.<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris é</arg_value>"
        "<arg_key>days</arg_key><arg_value>2</arg_value></tool_call>",
        [PARIS],
    ),
    "pythonic": (
        'I look. <|tool_call_start|>[get_weather(city="Paris é", days=2), add(a=1)]'
        "<|tool_call_end|>",
        [PARIS, ONE],
    ),
    "gemma4": (
        'I look.<|tool_call>call:get_weather{city:<|"|>Paris é<|"|>,days:2}<tool_call|>',
        [PARIS],
    ),
    "kimi_k2": (
        "I look.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
        '<|tool_call_argument_begin|>{"city": "Paris é", "days": 2}<|tool_call_end|>'
        "<|tool_calls_section_end|>",
        [PARIS],
    ),
    "minimax_m2": (
        'I look.<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris é'
        '</parameter>\n<parameter name="days">2</parameter>\n</invoke>\n</minimax:tool_call>',
        [PARIS],
    ),
}
BROKEN = [
    'a <tool_call>\n{"name": "get_weather", "arguments": {"city": \n</tool_call> b',
    'a <tool_call>\n{"name": "unknown", "arguments": {}}\n</tool_call>\n\n',
    'a <tool_call>\n{"name": "add", "arguments": [1]}\n</tool_call>',
    'a <tool_call>\n{"name": "add", "arguments": {"a": 1}}',
    "a <tool_call></tool_call> <tool_cal",
    "a </tool_call> <think> b",
]
SIZES = [1, 2, 3, 5, 8, 13, 1000]


def form(name):
    module = importlib.import_module(f"mlx_lm.tool_parsers.{name}")
    return CallFormat(module.tool_call_start, module.tool_call_end, module.parse_tool_call)


def joined(message, text, size, is_whole=True):
    parts = Parts()
    for start in range(0, len(text), size):
        parts += message.add(text[start : start + size])
    return parts + message.finish(is_whole=is_whole)


def told(calls):
    return [(call.name, json.loads(call.arguments)) for call in calls]


def thinking(**more):
    return SimpleNamespace(has_thinking=True, think_start="<think>", think_end="</think>", **more)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("size", SIZES)
def test_calls_are_read_by_the_model_s_own_parser(name, size):
    text, calls = WRITTEN[name]
    parts = joined(FreeMessage(object(), form=form(name), tools=TOOLS), text, size)
    assert (parts.text, told(parts.calls)) == ("I look.", calls)
    assert len({call.id for call in parts.calls}) == len(calls)


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("size", SIZES)
def test_what_is_no_call_stays_text(text, size):
    message = FreeMessage(object(), form=form("json_tools"), tools=TOOLS)
    assert joined(message, text, size, is_whole=False) == Parts(text)


@pytest.mark.parametrize("size", SIZES)
def test_a_call_that_a_schema_refuses_stays_text_where_it_is_strict(size):
    text = '<tool_call>{"name": "get_weather", "arguments": {"city": 3}}</tool_call>'
    strict = Tool(WEATHER.name, parameters=WEATHER.parameters, strict=True)
    loose = joined(FreeMessage(object(), form=form("json_tools"), tools=[WEATHER]), text, size)
    assert (loose.text, told(loose.calls)) == ("", [("get_weather", {"city": 3})])
    message = FreeMessage(object(), form=form("json_tools"), tools=[strict])
    assert joined(message, text, size) == Parts(text)


@pytest.mark.parametrize("size", SIZES)
def test_thinking_is_told_apart(size):
    text = "so <b>\nthus</think>\n\nParis <think>hm</think>."
    message = FreeMessage(thinking(), is_thinking=True)
    assert joined(message, text, size) == Parts("\n\nParis .", "so <b>\nthushm")
    plain = FreeMessage(object(), is_thinking=False)
    assert joined(plain, text, size) == Parts(text)


@pytest.mark.parametrize("size", SIZES)
def test_one_call_alone_is_told_where_only_one_is_wanted(size):
    text, calls = WRITTEN["pythonic"]
    message = FreeMessage(object(), form=form("pythonic"), tools=TOOLS, several=False)
    assert told(joined(message, text, size).calls) == calls[:1]


@pytest.mark.parametrize("size", SIZES)
def test_calls_that_a_grammar_holds_may_contain_any_text(size):
    arguments = [{"city": "</think>\n</tool_call>\n<tool_call> {"}, {"city": "é", "days": 2}]
    blocks = [
        f'<tool_call>\n{{"name": "get_weather", "arguments": {json.dumps(each)}}}\n</tool_call>'
        for each in arguments
    ]
    message = ConstrainedMessage("</think>", TOOLS)
    parts = joined(message, "so</think>" + "\n".join(blocks), size)
    assert (parts.text, parts.reasoning) == ("", "so")
    assert told(parts.calls) == [("get_weather", each) for each in arguments]
    cut = joined(ConstrainedMessage(None, TOOLS), "\n".join(blocks)[:-20], size, is_whole=False)
    assert told(cut.calls) == [("get_weather", arguments[0])]
    assert cut.text == f"\n{blocks[1]}"[:-20].lstrip("\n")


@pytest.mark.parametrize("size", SIZES)
def test_an_answer_that_a_grammar_holds_is_text(size):
    for text in ('{"a": "<think>x</think> <tool_call>"}', "<tool", "<tool_call>\t"):
        assert joined(ConstrainedMessage(None, TOOLS), text, size) == Parts(text)
        assert joined(ConstrainedMessage(), text, size) == Parts(text)


def test_tokens_of_thinking_are_counted_with_their_markers():
    markers = ThinkingMarkers((1,), (2, 3))
    for prompt, tokens, expected in (
        ([9], [1, 5, 2, 2, 3, 7, 7], 5),
        ([9, 1], [5, 5, 2, 3, 7], 4),
        ([1, 2, 3], [7, 2, 3, 7], 0),
        ([9, 1, 4], [5, 5], 2),
    ):
        count = ThinkingCount(markers, prompt)
        for token in tokens:
            count.add(token)
        assert count.tokens == expected
    assert ThinkingMarkers.of(object()) is None
    assert format_of(object()) is None


def test_parameters_that_are_no_schema_are_refused():
    with pytest.raises(GrammarError, match="parameters of 'f'"):
        Tool("f", parameters={"type": "nothing"})
    with pytest.raises(GrammarError, match="is not fetched"):
        Tool("f", parameters={"$ref": "http://127.0.0.1:1/a"})
