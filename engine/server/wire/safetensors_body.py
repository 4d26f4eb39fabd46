"""Tensors as one safetensors body: a header, then the arrays as they lie in memory."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import orjson

from engine.captures.records import CapturedActivation

CHUNK = 1 << 20
ALIGNMENT = 8
DTYPES = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
}


def tensor_name(record: CapturedActivation) -> str:
    """The name of a record's tensor in its capture: `hook/step`, an input's `hook/step/input`.

    The later visits of a layer that a model runs several times end in `/visit1` and on.
    """
    side = "/input" if record.is_input else ""
    visit = f"/visit{record.visit}" if record.visit else ""
    return f"{record.hook_id}/{record.step}{side}{visit}"


class Tensor(NamedTuple):
    """An array under its name; of dtype ``bfloat16``, which numpy lacks, the bits as uint16."""

    name: str
    dtype: str
    data: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def nbytes(self) -> int:
        return self.data.nbytes


class Place(NamedTuple):
    """What a header says of a tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @classmethod
    def of(cls, name: str, dtype: str, shape: Sequence[int]) -> "Place":
        """Of a tensor by its shape. Raises KeyError for a dtype that no header names."""
        code = DTYPES[dtype]
        return cls(name, dtype, tuple(shape), math.prod(shape) * int(code.lstrip("BFIU")) // 8)


def tensors(records: Iterable[CapturedActivation]) -> list[Tensor]:
    """The tensors of captured records: one each, or several, whose names end in what they are."""
    return [
        Tensor(part_name(record, part), dtype, array)
        for record in records
        for part, dtype, array in record.arrays
    ]


def part_name(record: CapturedActivation, part: str) -> str:
    """The name of one of a record's tensors."""
    return f"{tensor_name(record)}/{part}" if part else tensor_name(record)


def header(places: Iterable[Place | Tensor], metadata: dict[str, str]) -> bytes:
    """The length, little-endian in 8 bytes, and the JSON that names and places each tensor."""
    entries: dict[str, dict] = {"__metadata__": metadata}
    end = 0
    for place in places:
        start, end = end, end + place.nbytes
        entries[place.name] = {
            "dtype": DTYPES[place.dtype],
            "shape": list(place.shape),
            "data_offsets": [start, end],
        }
    text = orjson.dumps(entries)
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def body(
    tensors: Iterable[Tensor], metadata: dict[str, str]
) -> tuple[int, Iterator[bytes | memoryview]]:
    """The size of the body in bytes, and its pieces; the arrays are handed on, never copied."""
    tensors = list(tensors)
    head = header(tensors, metadata)
    return len(head) + sum(tensor.data.nbytes for tensor in tensors), _pieces(head, tensors)


def _pieces(head: bytes, tensors: Iterable[Tensor]) -> Iterator[bytes | memoryview]:
    yield head
    for tensor in tensors:
        raw = np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8).data
        for start in range(0, len(raw), CHUNK):
            yield raw[start : start + CHUNK]
