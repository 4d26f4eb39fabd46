"""From operations to the methods of a client: each message, and where its arguments go."""

import re
from dataclasses import dataclass

from bridge.generator.document import Document
from bridge.generator.errors import DocumentError
from bridge.generator.operations import Operation, operations_of
from bridge.generator.selectors import (
    OPTIONS,
    Part,
    Pattern,
    class_name,
    parse_pattern,
    pattern_for,
    plain,
)

WHOLE_BODY = "body"


@dataclass(frozen=True)
class ClientMethod:
    """One method of the client."""

    operation: Operation
    pattern: Pattern
    path: tuple[str | Part, ...]  # literal pieces and arguments, in order
    query: tuple[Part, ...] = ()
    fields: tuple[Part, ...] = ()  # of a JSON object
    body: Part | None = None  # the whole JSON body as one argument
    options: Part | None = None  # further fields of a JSON object, or else of the query

    @property
    def protocol(self) -> str:
        return self.operation.tag or "operations"

    @property
    def comment(self) -> str:
        text = plain(self.operation.summary)
        sentence = text if text.endswith((".", "?")) else f"{text}."
        if self.operation.headers:
            sentence += f" The optional headers {', '.join(self.operation.headers)} are not sent."
        return sentence


@dataclass(frozen=True)
class Client:
    """What the class of one API is rendered from."""

    name: str
    title: str
    version: str
    base_url: str
    methods: tuple[ClientMethod, ...]


def client_of(document: Document) -> Client:
    """The client of a whole document; two operations with one selector are an error."""
    info = document.content["info"]
    methods: dict[str, ClientMethod] = {}
    for operation in operations_of(document):
        for method in _methods(operation):
            selector = method.pattern.selector
            if selector in methods:
                other = methods[selector].operation.route
                raise DocumentError(operation.pointer, f"{selector} is the selector of {other} too")
            methods[selector] = method
    servers = document.content.get("servers") or [{"url": ""}]
    title = info.get("title") or "Untitled"
    return Client(
        info.get("x-smalltalk-class") or f"{class_name(title)}Client",
        plain(title),
        plain(str(info.get("version", ""))),
        servers[0]["url"].rstrip("/"),
        tuple(methods.values()),
    )


def _methods(operation: Operation) -> list[ClientMethod]:
    try:
        if not operation.selectors:
            return [_method(operation, pattern, WHOLE_BODY) for pattern in _derived(operation)]
        patterns = [parse_pattern(text) for text in operation.selectors]
    except ValueError as error:
        raise DocumentError(operation.pointer, str(error)) from error
    return [_method(operation, pattern) for pattern in patterns]


def _derived(operation: Operation) -> list[Pattern]:
    """For an operation that names no selector: what it must be given, and, if more, all."""
    body = [WHOLE_BODY] if operation.body else []
    required = [name for name, needed in operation.query.items() if needed]
    least = [*operation.path_names, *required, *body]
    most = [*operation.path_names, *operation.query, *body]
    return [
        pattern_for(operation.id, names) for names in ([least] if least == most else [least, most])
    ]


def _method(operation: Operation, pattern: Pattern, whole_body: str | None = None) -> ClientMethod:
    path, query, fields = [], [], []
    body = options = None
    properties = operation.body.properties if operation.body else ()
    for part in pattern.parts:
        if part.field in operation.path_names:
            path.append(part)
        elif part.field in operation.query:
            query.append(part)
        elif part.field == whole_body:
            body = part
        elif part.field in properties:
            fields.append(part)
        elif part.field == OPTIONS and (operation.body or operation.query):
            options = part
        else:
            raise DocumentError(operation.pointer, f"there is no field or parameter {part.field}")
    missing = {*operation.path_names} - {part.field for part in path}
    if missing:
        raise DocumentError(operation.pointer, f"'{pattern}' does not give {', '.join(missing)}")
    return ClientMethod(
        operation,
        pattern,
        _pieces(operation.path, path),
        tuple(query),
        tuple(fields),
        body,
        options,
    )


def _pieces(path: str, parts: list[Part]) -> tuple[str | Part, ...]:
    by_field = {part.field: part for part in parts}
    pieces = re.split(r"{([^}]+)}", path)
    return tuple(by_field[p] if i % 2 else p for i, p in enumerate(pieces) if p)
