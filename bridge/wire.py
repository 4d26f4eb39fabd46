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

    `tensors` is the capture's decoded safetensors body, for records of format `reference`. Of
    features the array is of all of them, with 0 for those that are not in the record.
    """
    if record.get("feature_set") is not None:
        return _features(record, tensors)
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


def _features(record: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """All features of a record, ``[sequences, positions, n_features]``."""
    if record.get("indices") is not None:
        positions = [each for sequence in record["indices"] for each in sequence]
        indices = np.array([index for each in positions for index in each], np.int64)
        values = np.array([v for s in record["values"] for each in s for v in each], np.float32)
        counts = np.array([len(each) for each in positions])
    elif record.get("indices_base64") is not None or f"{record.get('tensor')}/indices" in tensors:
        indices, values, offsets = (
            tensors[f"{record['tensor']}/{name}"]
            if record.get(f"{name}_base64") is None
            else np.frombuffer(base64.b64decode(record[f"{name}_base64"], validate=True), kind)
            for name, kind in (("indices", "<i4"), ("values", "<f4"), ("offsets", "<i4"))
        )
        counts = np.diff(offsets)
    else:
        raise InvalidRecordError(f"the record of {record['hook_id']!r} contains no features")
    dense = np.zeros((len(counts), record["shape"][-1]), np.float32)
    dense[np.repeat(np.arange(len(counts)), counts), indices] = values
    return dense.reshape(record["shape"])
