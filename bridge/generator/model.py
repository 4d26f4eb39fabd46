"""The intermediate representation: package, class, method; nothing of any file format."""

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Method:
    """One method. `source` starts with the message pattern; lines end in LF, indents are tabs."""

    protocol: str
    source: str

    @property
    def pattern(self) -> str:
        return self.source.split("\n", 1)[0].strip()

    @cached_property
    def selector(self) -> str:
        keywords = re.findall(r"[A-Za-z]\w*:", self.pattern)
        return "".join(keywords) or self.pattern.split()[0]

    @property
    def body(self) -> str:
        return self.source.split("\n", 1)[1]

    @cached_property
    def comment(self) -> str:
        """The method's leading comment without its quotes; empty if it has none."""
        found = re.match(r'\s*"((?:[^"]|"")*)"', self.body)
        return found.group(1) if found else ""


@dataclass(frozen=True)
class SmalltalkClass:
    """One class with the methods of both sides."""

    name: str
    superclass: str
    variables: tuple[str, ...]
    comment: str
    methods: tuple[Method, ...]
    class_methods: tuple[Method, ...]

    @property
    def all_methods(self) -> tuple[Method, ...]:
        return (*self.class_methods, *self.methods)


@dataclass(frozen=True)
class Package:
    """Classes that are filed in together, superclasses first, and the packages they rest on.

    `yielding` names those that step aside where the image has another class of their name;
    an `optional` package is not installed unless it is asked for.
    """

    name: str
    classes: tuple[SmalltalkClass, ...]
    requires: tuple["Package", ...] = ()
    yielding: frozenset[str] = frozenset()
    optional: bool = False


def protocols(methods: tuple[Method, ...]) -> dict[str, list[Method]]:
    """The methods of one side by protocol, in the order in which the protocols first appear."""
    grouped: dict[str, list[Method]] = {}
    for method in methods:
        grouped.setdefault(method.protocol, []).append(method)
    return grouped
