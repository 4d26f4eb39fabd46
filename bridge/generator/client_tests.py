"""Tests of a foreign client: each operation is called with examples, of which the answer is one."""

import json
from dataclasses import dataclass
from typing import Any

from bridge.generator.api.bodies import Content
from bridge.generator.api.operations import Operation
from bridge.generator.client import Client
from bridge.generator.examples import (
    BYTES,
    Example,
    example_body,
    example_parameter,
    example_response,
    example_value,
)
from bridge.generator.methods import ClientMethod
from bridge.generator.options import BODY
from bridge.generator.selectors import OPTIONS, Part

MAX_EXPECTED = 20_000
"""Characters of an answer that a test compares; of a longer one it only looks at the status."""


@dataclass(frozen=True)
class Argument:
    """One keyword of a call; `value` is JSON, or bytes."""

    keyword: str
    value: Any

    @property
    def is_bytes(self) -> bool:
        return isinstance(self.value, bytes)

    @property
    def is_text(self) -> bool:
        return isinstance(self.value, str)

    @property
    def codes(self) -> tuple[int, ...]:
        return tuple(self.value)

    @property
    def json(self) -> str:
        return json.dumps(self.value, ensure_ascii=False, default=str)


@dataclass(frozen=True)
class OperationTest:
    """One test; `arguments` is empty for a call without."""

    method: ClientMethod
    selector: str
    arguments: tuple[Argument, ...]
    expected: Example

    @property
    def text(self) -> str:
        """What the body of the answer is, as text; empty where it is not compared."""
        found = self.expected.body.decode("utf-8", "replace")
        return found if len(found) <= MAX_EXPECTED else ""

    @property
    def kind(self) -> str:
        """How the answer is compared: as `json`, `text`, `bytes`, or `nothing` but the status."""
        if not self.expected.body or not self.text:
            return "nothing"
        return Content(self.expected.media_type, None).kind


def tests_of(client: Client) -> tuple[OperationTest, ...]:
    """A test of each operation, by that of its selectors which takes the least."""
    found: dict[str, OperationTest] = {}
    chosen: dict[str, ClientMethod] = {}
    for method in client.methods:
        route = method.operation.route
        if route not in chosen or (chosen[route].options_part and not method.options_part):
            chosen[route] = method
    for method in chosen.values():
        words = method.pattern.selector.split(":")[0]
        name = f"test{words[0].upper()}{words[1:]}"
        number, selector = 2, name
        while selector in found:
            selector, number = f"{name}{number}", number + 1
        arguments = tuple(
            Argument(part.keyword, _argument(method, part)) for part in method.pattern.parts
        )
        found[selector] = OperationTest(
            method, selector, arguments, example_response(method.operation)
        )
    return tuple(found.values())


def _argument(method: ClientMethod, part: Part) -> Any:
    operation = method.operation
    if part.place == OPTIONS:
        return _options(method)
    if part.place == BODY:
        return _body(operation, method)
    if part.place == "field":
        body = operation.body.json if operation.body else None
        members = body.schema.properties if body and body.schema else {}
        return example_value(None, members.get(part.name))
    return _parameter(operation, part.place, part.name)


def _options(method: ClientMethod) -> dict[str, Any]:
    """What must be given of the options, for there are more than keywords can be."""
    return {
        each.key: _body(method.operation, method)
        if each.place == BODY
        else _parameter(method.operation, each.place, each.key)
        for each in method.options
        if each.required
    }


def _parameter(operation: Operation, place: str, name: str) -> Any:
    found = (p for p in operation.parameters if p.place == place and p.name == name)
    return example_parameter(next(found))


def _body(operation: Operation, method: ClientMethod) -> Any:
    assert operation.body
    media_type = method.media_types[0]
    value = example_body(operation.body, media_type)
    kind = Content(media_type, None)
    if kind.is_json or isinstance(value, dict) or kind.kind == "text":
        return value
    return BYTES
