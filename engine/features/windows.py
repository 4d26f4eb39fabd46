"""Texts as windows: sequences of tokens that a pass of the model runs over."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from engine.errors import InvalidRequestError
from engine.features.documents import Place, Texts
from engine.runs.encoding import encode
from engine.runs.kit import ModelKit


class Cursor(NamedTuple):
    """How far texts have been read: a document, and how many windows of it."""

    place: Place = Place()
    windows: int = 0


START = Cursor()


@dataclass(frozen=True)
class Window:
    """Tokens of one document: `text` of them after `before` special ones.

    `first` is the number of the first one in its document, special tokens not counted, and `end`
    the cursor after this window.
    """

    tokens: list[int]
    before: int
    first: int
    end: Cursor


def windows(kit: ModelKit, texts: Texts, length: int, start: Cursor = START) -> Iterator[Window]:
    """Each document's tokens in windows of `length`, or less at its end, from `start` on.

    A window begins with the special tokens that the tokenizer puts before a text. Raises
    InvalidRequestError for a length that has no place for a token of text, and what
    the texts raise.
    """
    for document in texts.documents(start.place):
        encoded = encode(kit.tokenizer, document.text)
        room = length - len(encoded.before)
        if room < 1:
            raise InvalidRequestError(
                f"context: {length} tokens have no place for one of text after "
                f"{len(encoded.before)} special ones"
            )
        passed = start.windows if document.place == start.place else 0
        for number, first in enumerate(range(0, len(encoded.text), room)):
            if number >= passed:
                tokens = [*encoded.before, *encoded.text[first : first + room]]
                end = Cursor(document.place, number + 1)
                yield Window(tokens, len(encoded.before), first, end)
