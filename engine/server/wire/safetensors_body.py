"""Captured activations as one safetensors body: a header, then the arrays as they lie in memory."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

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


def header(records: Iterable[CapturedActivation], metadata: dict[str, str]) -> bytes:
    """The length, little-endian in 8 bytes, and the JSON that names and places each tensor."""
    entries: dict[str, dict] = {"__metadata__": metadata}
    end = 0
    for record in records:
        start, end = end, end + record.nbytes
        entries[tensor_name(record)] = {
            "dtype": DTYPES[record.dtype],
            "shape": list(record.shape),
            "data_offsets": [start, end],
        }
    text = orjson.dumps(entries)
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def body(
    records: Iterable[CapturedActivation], metadata: dict[str, str]
) -> tuple[int, Iterator[bytes | memoryview]]:
    """The size of the body in bytes, and its pieces; the arrays are handed on, never copied."""
    records = list(records)
    head = header(records, metadata)
    return len(head) + sum(record.nbytes for record in records), _pieces(head, records)


def write_tensors(
    file: Path, records: Iterable[CapturedActivation], metadata: dict[str, str]
) -> list[int]:
    """Write the body to `file`, all or nothing; answers the offset of each record's data."""
    records = list(records)
    head = header(records, metadata)
    unfinished = file.with_suffix(".part")
    with unfinished.open("wb") as output:
        output.writelines(_pieces(head, records))
    unfinished.replace(file)
    return list(accumulate((record.nbytes for record in records[:-1]), initial=len(head)))


def _pieces(head: bytes, records: Iterable[CapturedActivation]) -> Iterator[bytes | memoryview]:
    yield head
    for record in records:
        raw = memoryview(np.ascontiguousarray(record.data)).cast("B")
        for start in range(0, len(raw), CHUNK):
            yield raw[start : start + CHUNK]
