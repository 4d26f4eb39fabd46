"""Text of a document in Smalltalk source: one function for each place that it goes into.

None of these lets the text end the place that it is in, so that no text is ever code. They make
source as a class template contains it, in chunks: an exclamation mark is doubled.
"""

import re
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
    if not UNSAFE_IN_LITERALS.search(text):
        return "'" + text.replace("'", "''") + "'"
    codes = " ".join(map(str, text.encode("utf-8", "surrogatepass")))
    return f"({name(connection)} textFromBytes: #({codes}))"


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
