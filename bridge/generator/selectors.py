"""Message patterns: keywords, and the parameter or field that each argument is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bridge.generator.names import NO_ARGUMENTS, words_of

OPTIONS = "options"
MAX_ARGUMENTS = 15
"""How many arguments Squeak allows to a method; the other systems allow more."""


@dataclass(frozen=True)
class Part:
    """One keyword of a message pattern, its argument, and what of the API that is.

    `place` is that of a parameter, `field` for a member of a JSON body, `body` for the whole, and
    `options` for further members.
    """

    keyword: str
    argument: str
    name: str
    place: str = ""


@dataclass(frozen=True)
class Pattern:
    """A message pattern: a unary selector without parts, or keywords with their arguments."""

    selector: str
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        return " ".join(f"{p.keyword} {p.argument}" for p in self.parts) or self.selector


def parse_pattern(text: str, taken: frozenset[str] = frozenset()) -> Pattern:
    """Read `forward: prompt hooks: activation_hooks`; ValueError if it is not such a pattern.

    `taken` are variables of the client's class that no argument may be called.
    """
    words = text.split()
    if len(words) == 1 and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9]*", text):
        return Pattern(text)
    keywords, names = words[::2], words[1::2]
    if len(keywords) != len(names) or not all(
        re.fullmatch(r"[a-zA-Z][a-zA-Z0-9]*:", keyword) for keyword in keywords
    ):
        raise ValueError(f"not a message pattern: {text!r}")
    arguments = words_of(names, NO_ARGUMENTS | taken)
    return Pattern("".join(keywords), tuple(map(Part, keywords, arguments, names)))


def pattern_for(
    name: str, wanted: Sequence[tuple[str, str]], taken: frozenset[str] = frozenset()
) -> Pattern:
    """A pattern that begins with a name and has one keyword for each pair of place and name."""
    if not wanted:
        return Pattern(name)
    names = [each for _, each in wanted]
    arguments = words_of(names, NO_ARGUMENTS | taken)
    keywords = [f"{name}:", *(f"{word}:" for word in words_of(names)[1:])]
    parts = tuple(
        Part(keyword, argument, each, place)
        for keyword, argument, (place, each) in zip(keywords, arguments, wanted, strict=True)
    )
    return Pattern("".join(keywords), parts)
