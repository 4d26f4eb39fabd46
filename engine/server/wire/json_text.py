"""JSON with arrays in it: as lists straight from numpy, as base64 in pieces, never built twice."""

from binascii import b2a_base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

PIECE = 3 << 16
"""Bytes that are turned into base64 at a time: whole groups of three, kept in the cache."""
HOLE = b"\0"
"""The place of a base64 string in JSON text, which never contains this byte."""


class Base64:
    """An array that becomes a JSON string of its bytes, row-major."""

    def __init__(self, array: np.ndarray) -> None:
        self.raw = np.ascontiguousarray(array).data.cast("B")

    def __len__(self) -> int:
        """Bytes of the JSON string, quotes included."""
        return 2 + (len(self.raw) + 2) // 3 * 4

    def pieces(self) -> Iterator[bytes]:
        yield b'"'
        for start in range(0, len(self.raw), PIECE):
            yield b2a_base64(self.raw[start : start + PIECE], newline=False)
        yield b'"'


def json_pieces(value: Any) -> tuple[int, Iterator[bytes]]:
    """The length of the JSON text of `value` in bytes, and the text in pieces.

    `value` may contain arrays, which become nested lists, and Base64.
    """
    strings: list[Base64] = []

    def leave_hole(string: Any) -> orjson.Fragment:
        if not isinstance(string, Base64):
            raise TypeError(type(string).__name__)
        strings.append(string)
        return orjson.Fragment(HOLE)

    text = orjson.dumps(value, leave_hole, orjson.OPT_SERIALIZE_NUMPY)
    size = len(text) + sum(len(string) - len(HOLE) for string in strings)
    return size, _filled(text.split(HOLE), strings)


def json_text(value: Any) -> bytes:
    """The JSON text of `value` in one piece."""
    return b"".join(json_pieces(value)[1])


def _filled(texts: list[bytes], strings: list[Base64]) -> Iterator[bytes]:
    yield texts[0]
    for string, text in zip(strings, texts[1:], strict=True):
        yield from string.pieces()
        yield text
