"""From the document's operations to the methods of a client; no Smalltalk is rendered here."""

import re
from dataclasses import dataclass
from typing import Any

from bridge.generator.document import Document
from bridge.generator.errors import DocumentError
from bridge.generator.selectors import (
    OPTIONS,
    Part,
    Pattern,
    class_name,
    parse_pattern,
    pattern_for,
)

JSON = "application/json"


@dataclass(frozen=True)
class ClientMethod:
    """One method of the client: the message, and where each argument goes in the request."""

    operation_id: str
    protocol: str
    pattern: Pattern
    comment: str
    http_method: str
    path: tuple[str | Part, ...]  # literal pieces and arguments, in order
    query: tuple[Part, ...]
    fields: tuple[Part, ...]  # of a JSON object
    body: Part | None  # the whole JSON body as one argument
    options: Part | None  # further fields of a JSON object
    has_body: bool
    answers_json: bool


@dataclass(frozen=True)
class Client:
    """What the class of one API is rendered from."""

    name: str
    title: str
    version: str
    base_url: str
    methods: tuple[ClientMethod, ...]


@dataclass(frozen=True)
class _Operation:
    """An operation with its references resolved, and where it stands."""

    pointer: str
    path: str
    http_method: str
    content: dict[str, Any]
    path_names: tuple[str, ...]
    query_names: tuple[str, ...]
    required_query: tuple[str, ...]
    body_properties: frozenset[str] | None  # None: no body, or one that is not an object

    @property
    def id(self) -> str:
        return self.content.get("operationId") or f"{self.http_method} {self.path}"


def client_of(document: Document) -> Client:
    """The client of a whole document; two operations with one selector are an error."""
    info = document.content["info"]
    servers = document.content.get("servers") or [{"url": ""}]
    methods: dict[str, ClientMethod] = {}
    for entry in document.operations():
        operation = _read(document, *entry)
        for method in _methods(operation):
            selector = method.pattern.selector
            if selector in methods:
                raise DocumentError(
                    operation.pointer,
                    f"the selector {selector} is that of {methods[selector].operation_id} too",
                )
            methods[selector] = method
    title = info.get("title", "")
    return Client(
        info.get("x-smalltalk-class") or f"{class_name(title)}Client",
        title,
        str(info.get("version", "")),
        servers[0]["url"].rstrip("/"),
        tuple(methods.values()),
    )


def _read(document: Document, pointer: str, path: str, verb: str, content: dict) -> _Operation:
    parameters = [
        document.resolve(p, pointer)
        for p in [*document.shared_parameters(path), *content.get("parameters", [])]
    ]
    for parameter in parameters:
        if parameter["in"] not in ("path", "query"):
            raise DocumentError(
                pointer, f"a parameter in the {parameter['in']}: {parameter['name']}"
            )
    return _Operation(
        pointer,
        path,
        verb,
        content,
        tuple(p["name"] for p in parameters if p["in"] == "path"),
        tuple(p["name"] for p in parameters if p["in"] == "query"),
        tuple(p["name"] for p in parameters if p["in"] == "query" and p.get("required")),
        _body_properties(document, pointer, content),
    )


def _body_properties(document: Document, pointer: str, content: dict) -> frozenset[str] | None:
    if "requestBody" not in content:
        return None
    body = document.resolve(content["requestBody"], pointer)
    if JSON not in body["content"]:
        raise DocumentError(pointer, f"a body that is not JSON: {', '.join(body['content'])}")
    schema = document.resolve(body["content"][JSON].get("schema", {}), pointer)
    return frozenset(schema.get("properties", ()))


def _methods(operation: _Operation) -> list[ClientMethod]:
    texts = operation.content.get("x-smalltalk-selector")
    try:
        patterns = [parse_pattern(text) for text in texts] if texts else _derived(operation)
    except ValueError as error:
        raise DocumentError(operation.pointer, str(error)) from error
    return [_method(operation, pattern, derived=not texts) for pattern in patterns]


def _derived(operation: _Operation) -> list[Pattern]:
    """What is required, and, if the query has more, everything."""
    body = ["body"] if "requestBody" in operation.content else []
    least = [*operation.path_names, *operation.required_query, *body]
    most = [*operation.path_names, *operation.query_names, *body]
    return [
        pattern_for(operation.id, names) for names in ([least, most] if most != least else [least])
    ]


def _method(operation: _Operation, pattern: Pattern, *, derived: bool) -> ClientMethod:
    has_body = "requestBody" in operation.content
    places: dict[str, list[Part]] = {
        "path": [],
        "query": [],
        "fields": [],
        "body": [],
        "options": [],
    }
    for part in pattern.parts:
        places[_place(operation, part, derived)].append(part)
    missing = set(operation.path_names) - {p.field for p in places["path"]}
    if missing:
        raise DocumentError(operation.pointer, f"{pattern} does not give {', '.join(missing)}")
    return ClientMethod(
        operation.id,
        next(iter(operation.content.get("tags", ())), "operations"),
        pattern,
        _comment(operation),
        operation.http_method.upper(),
        _split(operation.path, places["path"]),
        tuple(places["query"]),
        tuple(places["fields"]),
        next(iter(places["body"]), None),
        next(iter(places["options"]), None),
        has_body,
        _answers_json(operation),
    )


def _place(operation: _Operation, part: Part, derived: bool) -> str:
    if part.field in operation.path_names:
        return "path"
    if part.field in operation.query_names:
        return "query"
    if derived:
        return "body"
    if operation.body_properties is not None:
        if part.field in operation.body_properties:
            return "fields"
        if part.field == OPTIONS:
            return "options"
    raise DocumentError(
        operation.pointer, f"{part.keyword} {part.field} names no field or parameter"
    )


def _split(path: str, parts: list[Part]) -> tuple[str | Part, ...]:
    by_field = {part.field: part for part in parts}
    pieces = re.split(r"{([^}]+)}", path)
    return tuple(by_field[p] if i % 2 else p for i, p in enumerate(pieces) if p)


def _comment(operation: _Operation) -> str:
    text = operation.content.get("summary") or operation.content.get("description") or operation.id
    sentence = " ".join(text.split())
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def _answers_json(operation: _Operation) -> bool:
    for status, response in operation.content.get("responses", {}).items():
        if status.startswith("2"):
            return JSON in response.get("content", {})
    return False
