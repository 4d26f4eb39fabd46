"""Names in Smalltalk: message patterns, arguments, classes."""

import re
from dataclasses import dataclass

OPTIONS = "options"
RESERVED = frozenset(
    ["self", "super", "true", "false", "nil", "thisContext", "baseUrl", "token", "timeLimit"]
)  # pseudo-variables, and the instance variables of the client's superclass


@dataclass(frozen=True)
class Part:
    """One keyword of a message pattern and the API's field that its argument is sent as."""

    keyword: str
    field: str

    @property
    def argument(self) -> str:
        name = camel_case(self.field)
        return f"{name}Value" if name in RESERVED else name


@dataclass(frozen=True)
class Pattern:
    """A message pattern: a unary selector without parts, or keywords with their fields."""

    selector: str
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        return " ".join(f"{p.keyword} {p.argument}" for p in self.parts) or self.selector


def parse_pattern(text: str) -> Pattern:
    """Read `forward: prompt hooks: activation_hooks`; ValueError if it is not such a pattern."""
    words = text.split()
    if len(words) == 1 and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9]*", text):
        return Pattern(text)
    keywords, fields = words[::2], words[1::2]
    if len(keywords) != len(fields) or not all(
        re.fullmatch(r"[a-zA-Z][a-zA-Z0-9]*:", keyword) for keyword in keywords
    ):
        raise ValueError(f"not a message pattern: {text!r}")
    parts = tuple(map(Part, keywords, fields))
    return Pattern("".join(keywords), parts)


def pattern_for(operation_id: str, fields: list[str]) -> Pattern:
    """A pattern for an operation that names none: its id, then each field as a keyword."""
    name = camel_case(operation_id)
    if not fields:
        return Pattern(name)
    keywords = [f"{name}:", *(f"{camel_case(field)}:" for field in fields[1:])]
    return Pattern("".join(keywords), tuple(map(Part, keywords, fields)))


def camel_case(name: str) -> str:
    """`activation_hooks` as `activationHooks`: letters and digits only, a small letter first."""
    words = re.findall(r"[a-zA-Z0-9]+", name)
    joined = "".join(word[0].upper() + word[1:] for word in words)
    if not joined:
        raise ValueError(f"no letters or digits to make a Smalltalk name of: {name!r}")
    if joined[0].isdigit():
        joined = f"N{joined}"
    return joined[0].lower() + joined[1:]


def class_name(title: str) -> str:
    """`Swagger Petstore` as `SwaggerPetstore`."""
    name = camel_case(title)
    return name[0].upper() + name[1:]


def plain(text: str) -> str:
    """Text as a Smalltalk comment can hold it in every file format: one line of ASCII, no `!`."""
    return " ".join(text.replace("!", ".").encode("ascii", "replace").decode().split())
