"""How the parts of a request travel: what a client's base classes are told of each."""

import re

from bridge.generator.api.bodies import Content, RequestBody
from bridge.generator.api.operations import Operation
from bridge.generator.api.parameters import Parameter
from bridge.generator.api.schemas import Schema
from bridge.generator.text import percent

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What HTTP lets the name of a header or a cookie be."""
FORM = "application/x-www-form-urlencoded"


def is_token(name: str) -> bool:
    """Whether HTTP can carry a name of a header or a cookie."""
    return bool(TOKEN.fullmatch(name))


def wire_name(parameter: Parameter) -> str:
    """The name as the base classes are given it: escaped where it is a part of an address."""
    return parameter.name if parameter.place in ("header", "cookie") else percent(parameter.name)


def style_of(parameter: Parameter) -> str:
    """The style as LMStudioParameter reads it, or the media type of a whole query."""
    if parameter.content:
        if parameter.place == "querystring":
            return parameter.content
        return "json" if Content(parameter.content, None).is_json else "text"
    escaped = parameter.place in ("query", "cookie") and parameter.style != "cookie"
    return _style(parameter.style, parameter.explode, parameter.allow_reserved and escaped)


def accepted(operation: Operation) -> str:
    """The value of the header Accept: what the document declares, as far as it is understood.

    Where a success may be JSON, that is preferred to anything else.
    """
    successes = [r for r in operation.responses if r.is_success]
    others = [r for r in operation.responses if not r.is_success]
    groups = [[c for r in group for c in r.contents] for group in (successes, others)]
    types = [c.media_type for group in groups for c in sorted(group, key=lambda c: not c.is_json)]
    json_types = {c.media_type for group in groups for c in group if c.is_json}
    prefers_json = any(c.is_json for c in groups[0])
    usable = [each for each in dict.fromkeys(types) if _is_header(each)]
    listed = [
        each if each in json_types or not prefers_json or "q=" in each else f"{each};q=0.5"
        for each in usable
    ]
    return ", ".join(listed) or "*/*"


def media_types(body: RequestBody) -> tuple[str, ...]:
    """The media types of a body in order of preference: JSON, forms, then the document's order."""
    usable = [content for content in body.contents if _is_header(content.media_type)]
    ordered = sorted(usable, key=_rank)
    return tuple(content.media_type for content in ordered)


def encodings(body: RequestBody) -> tuple[str, ...]:
    """For each member of a form that the document says something of: name, style, media type."""
    found: dict[str, tuple[str, str]] = {}
    for content in body.contents:
        if content.essence != FORM and not content.essence.startswith("multipart/"):
            continue
        for name, encoding in content.encodings.items():
            style = _style(encoding.style, encoding.explode, encoding.allow_reserved)
            media_type = encoding.content_type if _is_one(encoding.content_type) else ""
            if encoding.style or media_type:
                found.setdefault(name, ("", media_type) if not encoding.style else (style, ""))
        if content.essence.startswith("multipart/"):
            members = content.schema.properties if content.schema else {}
            for name, member in members.items():
                if _is_file(member):
                    found.setdefault(name, ("", "application/octet-stream"))
    return tuple(text for name, how in found.items() for text in (name, *how))


def _style(style: str, explode: bool, reserved: bool) -> str:
    return f"{'+' if reserved else ''}{style}{'*' if explode else ''}"


def _rank(content: Content) -> int:
    if content.is_json:
        return 0
    return 1 if content.essence == FORM or content.essence.startswith("multipart/") else 2


def _is_header(media_type: str) -> bool:
    return bool(re.fullmatch(r"[ -~]+", media_type))


def _is_one(media_type: str) -> bool:
    """Whether an encoding names one media type, not a choice of them."""
    return bool(media_type) and _is_header(media_type) and not re.search(r"[*,]", media_type)


def _is_file(schema: Schema) -> bool:
    """Whether a member of a form is bytes, or a list of such."""
    if schema.items and "array" in schema.types:
        return _is_file(schema.items)
    raw = schema.node.value if isinstance(schema.node.value, dict) else {}
    media_type = raw.get("contentMediaType")
    return schema.format == "binary" or (
        isinstance(media_type, str) and not media_type.startswith(("text/", "application/json"))
    )
