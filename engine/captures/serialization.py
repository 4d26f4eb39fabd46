"""Captured activations as plain Python values, ready for JSON."""

import base64
from typing import Any, Literal

import numpy as np

from engine.captures.records import Activations, CapturedActivation, numbers
from engine.captures.sparse import SparseActivation
from engine.errors import InvalidRequestError

Format = Literal["array", "base64", "metadata"]


def serialize_activations(
    activations: Activations, format: Format = "array"
) -> dict[str, list[dict[str, Any]]]:
    """Records as dictionaries: `data` as nested lists, `data_base64`, or neither.

    Data is row-major; in base64 it is little-endian, in the record's `dtype`. Masked scores are
    ``-inf``. Raises InvalidRequestError for another format.
    """
    return {
        hook_id: [{**record.metadata, **_data(record, format)} for record in records]
        for hook_id, records in activations.items()
    }


def _data(record: CapturedActivation, format: Format) -> dict[str, Any]:
    if isinstance(record, SparseActivation):
        return _sparse(record, format)
    match format:
        case "array":
            return {"data": numbers(record.data, record.dtype).tolist()}
        case "base64":
            raw = np.ascontiguousarray(record.data).data
            return {"data_base64": base64.b64encode(raw).decode()}
        case "metadata":
            return {}
    raise _unknown(format)


def _sparse(record: SparseActivation, format: Format) -> dict[str, Any]:
    """Which features are not 0 and their values: by position as lists, or all as base64."""
    match format:
        case "array":
            rows = list(record.positions_of_sequences())
            return {
                "indices": [[indices.tolist() for indices, _ in each] for each in rows],
                "values": [[values.tolist() for _, values in each] for each in rows],
            }
        case "base64":
            return {
                f"{name}_base64": base64.b64encode(np.ascontiguousarray(array).data).decode()
                for name, _, array in record.arrays
            }
        case "metadata":
            return {}
    raise _unknown(format)


def _unknown(format: str) -> InvalidRequestError:
    return InvalidRequestError(f"format is {format!r}, not one of array, base64, metadata")
