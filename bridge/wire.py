"""Tensors between their wire forms and numpy."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import deserialize

from bridge.errors import InvalidRecordError

SAFETENSORS_DTYPES = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
}
STORED = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int32": "<i4", "uint32": "<u4"}


def from_bytes(raw: bytes, dtype: str, shape: list[int]) -> np.ndarray:
    """Decode little-endian, row-major bytes; bfloat16, which numpy lacks, is widened to float32."""
    if dtype not in STORED:
        raise InvalidRecordError(f"dtype {dtype!r} is not one of {', '.join(STORED)}")
    flat = np.frombuffer(raw, STORED[dtype])
    if flat.size != np.prod(shape, dtype=int):
        raise InvalidRecordError(f"{flat.size} values do not fill the shape {list(shape)}")
    if dtype == "bfloat16":
        flat = (flat.astype("<u4") << 16).view("<f4")
    return flat.reshape(shape)


def to_base64(array: np.ndarray) -> str:
    """Encode as little-endian float32, row-major."""
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode("ascii")


def to_value(array: np.ndarray) -> dict[str, Any]:
    """An array as the engine takes tensors in."""
    return {"shape": list(np.shape(array)), "data_base64": to_base64(array)}


def from_safetensors(body: bytes) -> dict[str, np.ndarray]:
    """Decode a safetensors body into arrays by tensor name."""
    return {
        name: from_bytes(entry["data"], SAFETENSORS_DTYPES[entry["dtype"]], entry["shape"])
        for name, entry in deserialize(body)
    }


def from_record(record: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The array of an activation record, whichever form its data travelled in.

    `tensors` is the capture's decoded safetensors body, for records of format `reference`.
    """
    if record.get("data_base64") is not None:
        raw = base64.b64decode(record["data_base64"], validate=True)
        return from_bytes(raw, record["dtype"], record["shape"])
    if record.get("data") is not None:
        values = np.asarray(record["data"], "f4")
        values[np.isnan(values)] = -np.inf  # null: a masked score
        return values.reshape(record["shape"])
    if record.get("tensor") in tensors:
        return tensors[record["tensor"]]
    raise InvalidRecordError(f"the record of {record['hook_id']!r} contains no data")
