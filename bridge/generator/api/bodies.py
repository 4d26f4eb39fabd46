"""Bodies of requests and responses by media type."""

import re
from dataclasses import dataclass, field

from bridge.generator.api.references import Node
from bridge.generator.api.schemas import Schema, schema_at

JSON_TYPE = re.compile(r"application/json(-patch\+json)?|[\w.*-]+/[\w.*-]+\+json|text/json", re.I)

TEXT_TYPE = re.compile(
    r"text/.*|.*\+xml|application/(xml|yaml|javascript|x-www-form-urlencoded)", re.I
)


@dataclass(frozen=True)
class Encoding:
    """How a member of a form is written: in a style as in a query, or else in a media type."""

    content_type: str = ""
    style: str = ""
    explode: bool = False
    allow_reserved: bool = False


@dataclass(frozen=True)
class Content:
    """One media type, as the document writes it, and the schema of what is sent in it.

    `encodings` are those of the members of a form that the document says something of.
    """

    media_type: str
    schema: Schema | None
    encodings: dict[str, Encoding] = field(default_factory=dict)
    node: Node | None = field(default=None, repr=False, compare=False)

    @property
    def essence(self) -> str:
        """The media type without its parameters, in small letters."""
        return self.media_type.partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        return bool(JSON_TYPE.fullmatch(self.essence))

    @property
    def kind(self) -> str:
        """What it is in Smalltalk: `json`, `text` or `bytes`; `value` for a range of types."""
        if self.is_json:
            return "json"
        if "*" in self.essence:
            return "value"
        return "text" if TEXT_TYPE.fullmatch(self.essence) else "bytes"


@dataclass(frozen=True)
class RequestBody:
    """What may be sent, in the order of preference of the document."""

    required: bool
    contents: tuple[Content, ...]
    description: str = ""

    @property
    def json(self) -> Content | None:
        """The first media type that is JSON."""
        return next((content for content in self.contents if content.is_json), None)


@dataclass(frozen=True)
class Response:
    """What a status comes with; `status` is a code, `2XX` and the like, or `default`."""

    status: str
    contents: tuple[Content, ...]
    headers: dict[str, Schema | None]
    description: str = ""

    @property
    def is_success(self) -> bool:
        return self.status.startswith("2")


def request_body_of(operation: Node) -> RequestBody | None:
    """The body of an operation's requests; None if they have none."""
    node = operation.object("requestBody")
    if node is None:
        return None
    node = node.resolved()
    return RequestBody(node.flag("required"), contents_of(node), node.text("description"))


def responses_of(operation: Node) -> tuple[Response, ...]:
    """The responses of an operation, in document order."""
    return tuple(
        _response(status, node.resolved())
        for status, node in operation.entries("responses").items()
    )


def contents_of(node: Node) -> tuple[Content, ...]:
    """The media types of a request body, a response or a parameter."""
    return tuple(
        _content(media_type, entry.resolved())
        for media_type, entry in node.entries("content").items()
    )


def _content(media_type: str, node: Node) -> Content:
    encodings = {name: _encoding(each) for name, each in node.entries("encoding").items()}
    return Content(media_type, _schema(node), encodings, node)


def _encoding(node: Node) -> Encoding:
    if not any(node.get(key) for key in ("style", "explode", "allowReserved")):
        return Encoding(node.text("contentType"))
    style = node.text("style") or "form"
    explode = node.get("explode")
    return Encoding(
        "",
        style,
        style == "form" if explode is None else explode.value is True,
        node.flag("allowReserved"),
    )


def _response(status: str, node: Node) -> Response:
    headers = {name: _schema(header.resolved()) for name, header in node.entries("headers").items()}
    return Response(status, contents_of(node), headers, node.text("description"))


def _schema(node: Node) -> Schema | None:
    found = node.get("schema")
    return schema_at(found) if found else None
