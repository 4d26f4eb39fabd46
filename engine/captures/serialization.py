"""Captured activations as plain Python values, ready for JSON."""

import base64
from typing import Any, Literal

import numpy as np

from engine.captures.records import Activations, CapturedActivation, numbers
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
    match format:
        case "array":
            return {"data": numbers(record.data, record.dtype).tolist()}
        case "base64":
            raw = np.ascontiguousarray(record.data).data
            return {"data_base64": base64.b64encode(raw).decode()}
        case "metadata":
            return {}
    raise InvalidRequestError(f"format is {format!r}, not one of array, base64, metadata")
