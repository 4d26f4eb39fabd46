"""Text of a document in Smalltalk source: one function for each place that it goes into.

None of these lets the text end the place that it is in, so that no text is ever code. They make
source as a class template contains it, in chunks: an exclamation mark is doubled.
"""

import re
from collections.abc import Sequence
from urllib.parse import quote

from anyascii import anyascii

from bridge.generator.errors import TemplateError

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*")
SELECTOR = re.compile(r"[A-Za-z][A-Za-z0-9]*|([A-Za-z][A-Za-z0-9]*:)+")
UNSAFE_IN_LITERALS = re.compile(r"[^ -~]|!")


def plain(text: str) -> str:
    """Text as one line of printable ASCII; other scripts are transliterated."""
    return " ".join(re.sub(r"[^ -~]+", " ", anyascii(" ".join(text.split()))).split())


def chunk(text: str) -> str:
    """Text within a chunk: an exclamation mark alone would end it."""
    return text.replace("!", "!!")


def comment(text: str) -> str:
    """Text within the quotes of a method's comment."""
    return chunk(plain(text).replace('"', '""'))


def prose(text: str) -> str:
    """Text within a class comment, which is a chunk of its own."""
    return chunk(plain(text))


def protocol(text: str) -> str:
    """Text as the name of a protocol, within single quotes; no `*`, which marks extensions."""
    words = re.sub(r"[^A-Za-z0-9 _.,:()/&+-]+", " ", plain(text)).split()
    return " ".join(words)[:80].strip() or "operations"


def literal(text: str, connection: str) -> str:
    """An expression whose value is the text.

    A string literal if every dialect reads that back as it is: printable ASCII without `!`. Else
    `connection`, the class that all clients inherit from, makes the text of its UTF-8 bytes.
    """
    if is_plain(text):
        return "'" + text.replace("'", "''") + "'"
    codes = " ".join(map(str, text.encode("utf-8", "surrogatepass")))
    return f"({name(connection)} textFromBytes: #({codes}))"


def is_plain(text: str) -> bool:
    """Whether every dialect reads the text back from a string literal as it is."""
    return not UNSAFE_IN_LITERALS.search(text)


def undouble(source: str) -> str:
    """Source as a chunk contains it, as it is outside of chunks."""
    return source.replace("!!", "!")


def markdown(text: str) -> str:
    """Text as one line of Markdown, in which nothing is a mark; within backquotes too."""
    return re.sub(r"[`*<>\[\]|\\#]+", " ", plain(text)).strip()


def strings(texts: Sequence[str], connection: str) -> str:
    """An expression whose value is an Array of the texts: a literal one, if they all are plain."""
    listed = [literal(text, connection) for text in texts]
    if all(map(is_plain, texts)):
        return f"#({' '.join(listed)})"
    return f"{{{'. '.join(listed)}}}"


def groups(words: Sequence[Sequence[str]]) -> str:
    """An Array of Arrays of names. Raises TemplateError if one is no name."""
    return f"#({' '.join('#(' + ' '.join(repr(name(w)) for w in each) + ')' for each in words)})"


def percent(text: str) -> str:
    """Text as the name of a parameter in a query, escaped as an address has it."""
    return quote(text, safe="", errors="replace")


def symbol(selector: str) -> str:
    """A symbol of a selector. Raises TemplateError if it is none."""
    if not SELECTOR.fullmatch(selector):
        raise TemplateError(f"not a selector: {selector!r}")
    return f"#{selector}"


def name(text: str) -> str:
    """The name of a class or variable. Raises TemplateError if it is none."""
    if not IDENTIFIER.fullmatch(text):
        raise TemplateError(f"not a name: {text!r}")
    return text
