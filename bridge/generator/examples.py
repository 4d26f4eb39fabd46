"""Examples of what a document describes: its own where it has any, else made of the schemas."""

import json
from dataclasses import dataclass, field
from typing import Any

from bridge.generator.api.bodies import Content, RequestBody, Response
from bridge.generator.api.operations import Operation
from bridge.generator.api.parameters import Parameter
from bridge.generator.api.references import Node
from bridge.generator.api.schemas import Schema

FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:30:00Z",
    "time": "12:30:00Z",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "byte": "ZXhhbXBsZQ==",
}
BYTES = b"\x00\x01\x7f\x80\xff"
MAX_DEPTH = 6


@dataclass(frozen=True)
class Example:
    """A response of a document; `media_type` is empty where there is no body."""

    status: int
    media_type: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_json(self) -> bool:
        return Content(self.media_type, None).is_json


def example_response(operation: Operation) -> Example:
    """The first success of an operation, as JSON where that is declared."""
    response = next(iter(operation.successes), None)
    if response is None:
        return Example(200)
    status = int(response.status) if response.status.isdigit() else 200
    content = _preferred(response)
    if content is None or status in (204, 205) or operation.verb == "HEAD":
        return Example(status, headers=_headers(response))
    return Example(status, _concrete(content), body_of(content), _headers(response))


def example_body(body: RequestBody, media_type: str) -> Any:
    """A value for a request's body of one of its media types."""
    content = next(c for c in body.contents if c.media_type == media_type)
    return example_value(content.node, content.schema)


def example_parameter(parameter: Parameter) -> Any:
    """A value for a parameter."""
    if parameter.node is None:
        return "text"
    return example_value(parameter.node, parameter.schema)


def example_value(node: Node | None, schema: Schema | None) -> Any:
    """The example at a place of the document, else one made of the schema."""
    found = _given(node)
    return found[0] if found else _of_schema(schema, (), 0)


def body_of(content: Content) -> bytes:
    """An example of a media type, as bytes."""
    value = example_value(content.node, content.schema)
    if content.is_json:
        return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace")
    if isinstance(value, str) and (content.kind == "text" or _given(content.node)):
        return value.encode("utf-8", "replace")
    return json.dumps(value, default=str).encode() if content.kind == "text" else BYTES


def _headers(response: Response) -> dict[str, str]:
    """The headers that the document has examples of."""
    return {
        name: str(schema.examples[0])
        for name, schema in response.headers.items()
        if schema and schema.examples and name.lower() != "content-type"
    }


def _preferred(response: Response) -> Content | None:
    """JSON before anything else."""
    return next(iter(sorted(response.contents, key=lambda c: not c.is_json)), None)


def _concrete(content: Content) -> str:
    """A media type that a response can have, where the document has a range of them."""
    if "*" not in content.media_type:
        return content.media_type
    return "text/plain" if content.essence.startswith("text/") else "application/octet-stream"


def _given(node: Node | None) -> tuple[Any, ...]:
    """The example that a parameter or a media type has, if it has one."""
    if node is None or not isinstance(node.value, dict):
        return ()
    if "example" in node.value:
        return (node.value["example"],)
    examples = node.value.get("examples")
    for name in examples if isinstance(examples, dict) else ():
        found = node.child("examples").child(name).resolved().value
        if isinstance(found, dict) and "value" in found:
            return (found["value"],)
    return ()


def _of_schema(schema: Schema | None, above: tuple[Any, ...], depth: int) -> Any:
    """A value that fits a schema; what contains itself ends where it may."""
    if schema is None:
        return "text"
    for value in schema.examples:
        return value
    if schema.enum:
        return json.loads(schema.enum[0])
    above = (*above, schema.identity)
    fitting = [v for v in schema.variants if v.identity not in above]
    if fitting and not schema.properties:
        return _of_schema(fitting[0], above, depth)
    types = schema.types - {"null"}
    if "object" in types:
        return _object(schema, above, depth)
    if "array" in types:
        return _array(schema, above, depth)
    if types & {"integer", "number"} and "string" not in types:
        return _number(schema)
    if types == {"boolean"}:
        return True
    return _text(schema) if types or not schema.types else None


def _object(schema: Schema, above: tuple[Any, ...], depth: int) -> dict[str, Any]:
    found = {}
    for name, member in schema.properties.items():
        ends = member.identity in above or depth >= MAX_DEPTH
        if member.never or member.node.flag("writeOnly") or (ends and name not in schema.required):
            continue
        if member.identity not in above:
            found[name] = _of_schema(member, above, depth + 1)
    further = schema.additional
    if depth >= MAX_DEPTH or found or not isinstance(further, Schema):
        return found
    if further.identity not in above:
        found["key"] = _of_schema(further, above, depth + 1)
    return found


def _array(schema: Schema, above: tuple[Any, ...], depth: int) -> list[Any]:
    items = schema.items
    if items is None or items.identity in above or depth >= MAX_DEPTH:
        return []
    count = max(1, int(schema.limits.get("minItems", 1)))
    return [_of_schema(items, above, depth + 1)] * count


def _number(schema: Schema) -> int | float:
    limits = schema.limits
    least = limits.get("minimum", limits.get("exclusiveMinimum", 0) + 1)
    if (most := limits.get("maximum")) is not None:
        least = min(least, most)
    return int(least) if "integer" in schema.types or least == int(least) else least


def _text(schema: Schema) -> str:
    text = FORMATS.get(schema.format, "text")
    least = int(schema.limits.get("minLength", 0))
    most = int(schema.limits.get("maxLength", max(len(text), least)))
    return text.ljust(least, "x")[:most]
