"""Control vectors as GGUF files, as llama.cpp and repeng write and read them.

A file has a tensor ``direction.{l}`` in float32 for each layer l from 1 on: it is added to the
residual stream after block l, counted from 0. Layer 0 has none. The file is read by itself, not by
MLX's reader, which ends the process on a file that is damaged.
"""

import math
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from engine.errors import InvalidRequestError
from engine.steering.vector import SteeringVector

MAGIC = b"GGUF"
VERSION = 3
VERSIONS = (2, 3)
ARCHITECTURE = "controlvector"
HINT, COUNT = f"{ARCHITECTURE}.model_hint", f"{ARCHITECTURE}.layer_count"
ALIGNMENT = 32
NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""Metadata types that are one number, as `struct` writes them."""
UINT32, STRING, ARRAY = 4, 8, 9
TENSORS: dict[int, np.dtype] = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 28: np.dtype("<f8")}
"""Tensor types that are plain numbers."""
F32 = 0
MOST = 1 << 16
"""Tensors, and entries of metadata, at most."""


def to_gguf(vector: SteeringVector) -> bytes:
    """The file of a vector. Raises InvalidRequestError for one with a direction of layer 0."""
    if 0 in vector.directions:
        raise InvalidRequestError(
            "a control vector has no direction of layer 0, which llama.cpp never steers; leave it "
            "out, or save as safetensors"
        )
    metadata = [
        _string("general.architecture") + struct.pack("<I", STRING) + _string(ARCHITECTURE),
        _string(HINT) + struct.pack("<I", STRING) + _string(vector.architecture or "unknown"),
        _string(COUNT) + struct.pack("<II", UINT32, len(vector.directions)),
    ]
    size = vector.width * 4
    step = size + -size % ALIGNMENT
    infos = [
        _string(f"direction.{layer}") + struct.pack("<IQIQ", 1, vector.width, F32, step * place)
        for place, layer in enumerate(vector.layers)
    ]
    head = MAGIC + struct.pack("<IQQ", VERSION, len(infos), len(metadata))
    head += b"".join([*metadata, *infos])
    data = [
        vector.directions[layer].astype("<f4").tobytes() + bytes(step - size)
        for layer in vector.layers
    ]
    return head + bytes(-len(head) % ALIGNMENT) + b"".join(data)


def from_gguf(body: bytes) -> SteeringVector:
    """The vector of a file. Raises InvalidRequestError for one that is damaged, or that is not a
    control vector."""
    try:
        metadata, tensors = _read(body)
    except (struct.error, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise InvalidRequestError(f"the GGUF file is damaged: {error}") from None
    found = metadata.get("general.architecture")
    if found != ARCHITECTURE:
        raise InvalidRequestError(f"general.architecture is {found!r}, not {ARCHITECTURE!r}")
    directions = {}
    for name, values in tensors.items():
        match = re.fullmatch(r"direction\.([0-9]{1,6})", name)
        if match is None:
            raise InvalidRequestError(f"{name!r} is no tensor of a control vector")
        if int(match[1]) == 0:
            raise InvalidRequestError("direction.0: a control vector has no direction of layer 0")
        directions[int(match[1])] = values.astype(np.float32)
    hint = metadata.get(HINT)
    return SteeringVector(directions, hint if isinstance(hint, str) else None, {"method": "file"})


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


class _Reader:
    """The bytes of a file, from the first on."""

    def __init__(self, body: bytes):
        self.body = body
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.body):
            raise ValueError(f"it ends at byte {len(self.body)}")
        self.at += size
        return self.body[self.at - size : self.at]

    def number(self, code: str) -> Any:
        (value,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))
        return value

    def count(self) -> int:
        number = self.number("Q")
        if number > MOST:
            raise ValueError(f"{number} entries")
        return number

    def string(self) -> str:
        return self.take(self.number("Q")).decode()

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner = self.number("I")
            if inner == ARRAY:
                raise ValueError("an array of arrays")
            return [self.value(inner) for _ in range(self.count())]
        if kind not in NUMBERS:
            raise ValueError(f"a value of type {kind}")
        return self.number(NUMBERS[kind])


def _read(body: bytes) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
    reader = _Reader(body)
    if reader.take(4) != MAGIC:
        raise ValueError("it does not begin with GGUF")
    version = reader.number("I")
    if version not in VERSIONS:
        raise ValueError(f"its version is {version}, not one of {VERSIONS}")
    tensors, entries = reader.count(), reader.count()
    metadata = {reader.string(): reader.value(reader.number("I")) for _ in range(entries)}
    infos = list(_infos(reader, tensors))
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= MOST:
        raise ValueError(f"an alignment of {alignment}")
    start = reader.at + -reader.at % alignment
    arrays = {}
    for name, shape, dtype, offset in infos:
        reader.at = start + offset
        arrays[name] = np.frombuffer(reader.take(math.prod(shape) * dtype.itemsize), dtype)
        arrays[name] = arrays[name].reshape(shape[::-1])
    return metadata, arrays


def _infos(reader: _Reader, count: int) -> Iterator[tuple[str, tuple[int, ...], np.dtype, int]]:
    for _ in range(count):
        name = reader.string()
        axes = reader.number("I")
        if axes > 4:
            raise ValueError(f"{name} has {axes} axes")
        shape = tuple(reader.number("Q") for _ in range(axes))
        kind = reader.number("I")
        if kind not in TENSORS:
            raise ValueError(f"{name} is of tensor type {kind}, not of plain numbers")
        yield name, shape, TENSORS[kind], reader.number("Q")
