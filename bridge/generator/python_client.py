"""The Python client's operations, from the engine's API document: one method an operation."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bridge.generator.templates import Templates

TEMPLATE = "python/api_client.py.jinja"
JSON = "application/json"
EVENTS = "text/event-stream"
TEXT = "text/plain"
PYTHON_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "object": "Mapping[str, Any]",
}

Schema = dict[str, Any]


@dataclass(frozen=True)
class Argument:
    """One argument of a method; `place` says which part of the request it goes into."""

    name: str
    type: str
    place: str  # path, query or body
    required: bool


@dataclass(frozen=True)
class Method:
    """One method: its main arguments may be given by position, the options by keyword alone."""

    name: str
    summary: str
    verb: str
    path: str
    main: tuple[Argument, ...]
    options: tuple[Argument, ...]
    returns: str
    streams: str | None  # what its events are: parts of the reply, or its progress

    @property
    def sender(self) -> str:
        """The transport's method that sends its requests."""
        if self.streams == "progress":
            return "_result"
        if "ndarray" in self.returns:
            return "_arrays"
        return "_text" if self.returns == "str" else "_json"

    def of(self, place: str) -> tuple[Argument, ...]:
        """The arguments that go into one part of the request."""
        return tuple(each for each in (*self.main, *self.options) if each.place == place)


def python_client(document: Path) -> str:
    """The source of `bridge/api_client.py`, not yet formatted."""
    content = json.loads(document.read_text(encoding="utf-8"))
    return Templates().render(TEMPLATE, methods=list(_methods(content)))


def _methods(content: Schema) -> Iterator[Method]:
    schemas = content["components"]["schemas"]
    for path, item in content["paths"].items():
        for verb, operation in item.items():
            yield _method(schemas, path, verb.upper(), operation)


def _method(schemas: Schema, path: str, verb: str, operation: Schema) -> Method:
    arguments = {argument.name: argument for argument in _arguments(schemas, operation)}
    leading = re.findall(r": (\w+)", operation["x-smalltalk-selector"][0])
    main = {name: arguments.pop(name) for name in leading if name != "options"}
    responses = operation["responses"]["200"]["content"]
    main |= {name: arguments.pop(name) for name in list(arguments) if arguments[name].required}
    return Method(
        name=_snake(operation["operationId"]),
        summary=operation["summary"],
        verb=verb,
        path=path,
        main=tuple(_defaults_last(main.values())),
        options=tuple(arguments.values()),
        returns=_returned(responses),
        streams=responses[EVENTS]["x-events"] if EVENTS in responses else None,
    )


def _defaults_last(arguments: Iterable[Argument]) -> Iterator[Argument]:
    """The arguments in their order; after one that may be left out, all may, as Python demands."""
    required = True
    for argument in arguments:
        required = required and argument.required
        yield replace(argument, required=required)


def _arguments(schemas: Schema, operation: Schema) -> Iterator[Argument]:
    for parameter in operation.get("parameters", ()):
        yield Argument(
            parameter["name"],
            _type(parameter["schema"]),
            parameter["in"],
            parameter.get("required", False),
        )
    if "requestBody" in operation:
        body = operation["requestBody"]["content"][JSON]["schema"]["$ref"]
        schema = schemas[_name(body)]
        for name, field in schema["properties"].items():
            if name != "stream":
                yield Argument(name, _type(field), "body", name in schema.get("required", ()))


def _returned(responses: Schema) -> str:
    if TEXT in responses:
        return "str"
    if JSON not in responses:
        return "dict[str, np.ndarray]"
    schema = responses[JSON]["schema"]
    return _type(schema) if "$ref" in schema else "dict[str, Any]"


def _type(schema: Schema) -> str:
    """The type of what a schema allows, as an annotation; tensors and the like are `Any`."""
    if "$ref" in schema:
        return f"api.{_name(schema['$ref'])}"
    if "anyOf" in schema:
        kinds = dict.fromkeys(_type(each) for each in schema["anyOf"])
        return " | ".join(kinds)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return f"Literal[{', '.join(map(repr, values))}]"
    if schema.get("type") == "array":
        return f"Sequence[{_type(schema.get('items', {}))}]"
    return PYTHON_TYPES.get(schema.get("type", ""), "Any")


def _name(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
