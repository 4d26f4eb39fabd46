"""Operations of the API document as tools: one flat record of arguments, one reply."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.errors import BridgeError

COMPONENT = "#/components/schemas/"
DEFINITION = "#/$defs/"
METHODS = ("get", "put", "post", "delete", "patch")
BINARY = "application/octet-stream"
STREAMING = {"stream", "stream_options"}
"""Fields of requests that ask for a streamed reply; a tool replies once."""


class UnknownArgumentError(BridgeError):
    """A call of a tool with an argument that its operation does not have, or without one that it
    needs."""


@dataclass(frozen=True)
class Operation:
    """One operation as a tool: its `name`, what it does, and the JSON schema of its arguments.

    `places` says of each argument where the request has it: `path`, `query` or `body`.
    """

    name: str
    description: str
    method: str
    route: str
    schema: Mapping[str, Any]
    places: Mapping[str, str]
    has_body: bool
    is_binary: bool

    def parts(self, arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The arguments by their place in the request. Raises UnknownArgumentError."""
        if unknown := [name for name in arguments if name not in self.places]:
            raise UnknownArgumentError(
                f"{self.name} has no argument {unknown[0]!r}; it has "
                f"{', '.join(self.places) or 'none'}"
            )
        if missing := [name for name in self.schema["required"] if name not in arguments]:
            raise UnknownArgumentError(f"{self.name} needs the argument {missing[0]!r}")
        parts: dict[str, dict[str, Any]] = {"path": {}, "query": {}}
        if self.has_body:
            parts["body"] = {}
        for name, value in arguments.items():
            parts[self.places[name]][name] = value
        return parts


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """All operations under `/v1` and `/health`, in the document's order.

    The one that returns the document itself is no tool: the tools are made of it.
    """
    return [
        _operation(document, route, method, item[method])
        for route, item in document["paths"].items()
        if route != "/openapi.json"
        for method in METHODS
        if method in item
    ]


def _operation(
    document: Mapping[str, Any], route: str, method: str, operation: Mapping[str, Any]
) -> Operation:
    schemas = document["components"]["schemas"]
    properties, required, places = {}, [], {}
    for parameter in operation.get("parameters", ()):
        described = {"description": parameter["description"]} if "description" in parameter else {}
        properties[parameter["name"]] = parameter["schema"] | described
        places[parameter["name"]] = parameter["in"]
        if parameter.get("required"):
            required.append(parameter["name"])
    body = _body(operation, schemas)
    for name, field in body.get("properties", {}).items():
        if name not in STREAMING:
            properties[name], places[name] = field, "body"
    required += body.get("required", [])
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    if definitions := dict(_definitions(schema, schemas)):
        schema["$defs"] = definitions
    return Operation(
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation["operationId"]).lower(),
        " ".join(filter(None, (operation.get("summary"), operation.get("description")))),
        method.upper(),
        route,
        _moved(schema),
        places,
        bool(body),
        BINARY in operation["responses"]["200"]["content"],
    )


def _body(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    if "requestBody" not in operation:
        return {}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return schemas[schema["$ref"].removeprefix(COMPONENT)]


def _definitions(
    schema: Any, schemas: Mapping[str, Any], seen: set[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Every component that a schema refers to, and that those refer to."""
    seen = set() if seen is None else seen
    for name in _references(schema):
        if name not in seen:
            seen.add(name)
            yield name, schemas[name]
            yield from _definitions(schemas[name], schemas, seen)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(COMPONENT)
    for child in _children(node):
        yield from _references(child)


def _children(node: Any) -> list[Any]:
    if isinstance(node, Mapping):
        return list(node.values())
    return node if isinstance(node, list) else []


def _moved(node: Any) -> Any:
    """A schema whose references point to its own definitions."""
    if isinstance(node, Mapping):
        return {
            key: value.replace(COMPONENT, DEFINITION)
            if key == "$ref" and isinstance(value, str)
            else _moved(value)
            for key, value in node.items()
        }
    return [_moved(each) for each in node] if isinstance(node, list) else node
