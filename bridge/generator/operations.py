"""The operations of a document, their references resolved; nothing of Smalltalk yet."""

import re
from dataclasses import dataclass, field
from typing import Any

from bridge.generator.document import Document
from bridge.generator.errors import DocumentError

JSON = "application/json"


@dataclass(frozen=True)
class Body:
    """A JSON request body; of an object the names of its properties."""

    properties: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Operation:
    """One operation and where it stands in the document."""

    pointer: str
    id: str
    verb: str
    path: str
    summary: str
    tag: str | None
    selectors: tuple[str, ...]  # of the extension `x-smalltalk-selector`
    path_names: tuple[str, ...]
    query: dict[str, bool] = field(default_factory=dict)  # name to whether it is required
    headers: tuple[str, ...] = ()  # optional ones, which the client does not send
    body: Body | None = None
    answers_json: bool = False
    answered: frozenset[str] = frozenset()  # properties of the JSON object that it answers

    @property
    def route(self) -> str:
        return f"{self.verb} {self.path}"


def operations_of(document: Document) -> tuple[Operation, ...]:
    """All operations, in document order. Raises DocumentError for what is not supported."""
    return tuple(_operation(document, *entry) for entry in document.operations())


def _operation(
    document: Document, pointer: str, path: str, verb: str, content: dict[str, Any]
) -> Operation:
    parameters = _parameters(document, pointer, path, content)
    answer = _answer(document, pointer, content)
    return Operation(
        pointer=pointer,
        id=content.get("operationId") or f"{verb} {path}",
        verb=verb.upper(),
        path=path,
        summary=content.get("summary") or content.get("description") or f"{verb} {path}",
        tag=next(iter(content.get("tags", ())), None),
        selectors=_selectors(pointer, content),
        path_names=tuple(re.findall(r"{([^}]+)}", path)),
        query={p["name"]: p.get("required", False) for p in parameters if p["in"] == "query"},
        headers=tuple(p["name"] for p in parameters if p["in"] == "header"),
        body=_body(document, pointer, content),
        answers_json=answer is not None,
        answered=frozenset(_properties(document, pointer, answer or {})),
    )


def _parameters(
    document: Document, pointer: str, path: str, content: dict[str, Any]
) -> list[dict[str, Any]]:
    given = [*document.shared_parameters(path), *content.get("parameters", [])]
    parameters = [document.resolve(parameter, pointer) for parameter in given]
    for parameter in parameters:
        place = parameter.get("in")
        optional_header = place == "header" and not parameter.get("required")
        if place not in ("path", "query") and not optional_header:
            raise DocumentError(pointer, f"a parameter in a {place}: {parameter.get('name')}")
    return parameters


def _selectors(pointer: str, content: dict[str, Any]) -> tuple[str, ...]:
    given = content.get("x-smalltalk-selector", [])
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise DocumentError(f"{pointer}/x-smalltalk-selector", "not a list of message patterns")
    return tuple(given)


def _body(document: Document, pointer: str, content: dict[str, Any]) -> Body | None:
    if "requestBody" not in content:
        return None
    types = document.resolve(content["requestBody"], pointer).get("content", {})
    if JSON not in types:
        raise DocumentError(
            f"{pointer}/requestBody", f"a body that is not JSON: {', '.join(types)}"
        )
    schema = types[JSON].get("schema", {})
    required = document.resolve(schema, pointer).get("required", ())
    return Body(frozenset(_properties(document, pointer, schema)), frozenset(required))


def _answer(document: Document, pointer: str, content: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of the first successful response, or None if that is not JSON."""
    for status, response in content.get("responses", {}).items():
        if status.startswith("2"):
            types = document.resolve(response, pointer).get("content", {})
            return types[JSON].get("schema", {}) if JSON in types else None
    return None


def _properties(document: Document, pointer: str, schema: dict[str, Any]) -> set[str]:
    resolved = document.resolve(schema, pointer)
    names = set(resolved.get("properties", ()))
    for part in resolved.get("allOf", ()):
        names |= _properties(document, pointer, part)
    return names
