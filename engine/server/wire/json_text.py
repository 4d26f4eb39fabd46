"""JSON with arrays in it: as lists straight from numpy, as base64 in pieces, never built twice."""

import math
from binascii import b2a_base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from engine.server.errors import NotFiniteError

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


class Masked:
    """An array in whose nested lists null is -inf, a masked score."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


def json_pieces(value: Any) -> tuple[int, Iterator[bytes]]:
    """The length of the JSON text of `value` in bytes, and the text in pieces.

    `value` may contain arrays, which become nested lists, `Masked` ones, and Base64. Raises
    NotFiniteError for a number that JSON does not have, where it would become null.
    """
    _check_finite(value, ())
    strings: list[Base64] = []

    def leave_hole(special: Any) -> orjson.Fragment | np.ndarray:
        if isinstance(special, Masked):
            return special.array
        if not isinstance(special, Base64):
            raise TypeError(type(special).__name__)
        strings.append(special)
        return orjson.Fragment(HOLE)

    text = orjson.dumps(value, leave_hole, orjson.OPT_SERIALIZE_NUMPY)
    size = len(text) + sum(len(string) - len(HOLE) for string in strings)
    return size, _filled(text.split(HOLE), strings)


def json_text(value: Any) -> bytes:
    """The JSON text of `value` in one piece."""
    return b"".join(json_pieces(value)[1])


def _check_finite(value: Any, path: tuple[str | int, ...]) -> None:
    """Raise NotFiniteError for the first number, or array with one, that is NaN or infinite."""
    match value:
        case float():
            is_finite = math.isfinite(value)
        case np.ndarray() | np.floating():
            is_finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
        case dict():
            for name, each in value.items():
                _check_finite(each, (*path, name))
            return
        case list() | tuple():
            for index, each in enumerate(value):
                _check_finite(each, (*path, index))
            return
        case _:
            return
    if not is_finite:
        place = ".".join(map(str, path))
        raise NotFiniteError(f"{place} of the reply is not finite: the model computed no number.")


def _filled(texts: list[bytes], strings: list[Base64]) -> Iterator[bytes]:
    yield texts[0]
    for string, text in zip(strings, texts[1:], strict=True):
        yield from string.pieces()
        yield text
