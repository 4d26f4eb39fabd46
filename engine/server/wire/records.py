"""Records between numpy and JSON."""

import math
from binascii import a2b_base64
from collections.abc import Mapping
from types import NoneType
from typing import Any

import numpy as np

from engine.captures.records import Activations, CapturedActivation, numbers
from engine.captures.sparse import SparseActivation
from engine.contract.schemas import ActivationFormat, TensorValue
from engine.server.errors import ImpossibleError
from engine.server.wire.json_text import Base64, Masked
from engine.server.wire.safetensors_body import tensor_name

STORED: dict[str, np.dtype] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int32": np.dtype("<i4"),
}


def activations_json(activations: Activations, form: ActivationFormat) -> dict[str, list[dict]]:
    return {
        hook_id: [record_json(record, form) for record in records]
        for hook_id, records in activations.items()
    }


def record_json(record: CapturedActivation, form: ActivationFormat) -> dict[str, Any]:
    """The record of the contract; its data in the form that the client asked for."""
    return {**record.metadata, **_data(record, form)}


def _data(record: CapturedActivation, form: ActivationFormat) -> Mapping[str, Any]:
    if isinstance(record, SparseActivation):
        return _sparse(record, form)
    match form:
        case "array":
            return {"data": _listed(record)}
        case "base64":
            return {"data_base64": Base64(record.data)}
        case "reference":
            return {"tensor": tensor_name(record)}
        case "metadata":
            return {}


def _sparse(record: SparseActivation, form: ActivationFormat) -> Mapping[str, Any]:
    match form:
        case "array":
            rows = list(record.positions_of_sequences())
            return {
                "indices": [[indices for indices, _ in each] for each in rows],
                "values": [[values for _, values in each] for each in rows],
            }
        case "base64":
            return {f"{name}_base64": Base64(array) for name, _, array in record.arrays}
        case "reference":
            return {"tensor": tensor_name(record)}
        case "metadata":
            return {}


def _listed(record: CapturedActivation) -> Masked:
    """The numbers for JSON, in which -inf, a masked score, is null; it has no NaN and no +inf."""
    data = np.ascontiguousarray(numbers(record.data, record.dtype))
    if not np.isfinite(data).all() and not np.all(np.isfinite(data) | np.isneginf(data)):
        raise ImpossibleError(
            f"{record.hook_id!r} contains NaN or infinity, which lists cannot; ask for base64."
        )
    return Masked(data)


def tensor_array(value: TensorValue, param: str) -> np.ndarray:
    """The float32 array of a tensor that a client sent; raises if data and shape disagree."""
    flat = _from_lists(value, param) if value.data_base64 is None else _from_base64(value, param)
    if flat.size != math.prod(value.shape):
        raise ImpossibleError(
            f"{param}: {flat.size} values do not fill the shape {value.shape}", param
        )
    try:
        return flat.reshape(value.shape)
    except ValueError as impossible:  # no values, and axes beyond what numpy can count
        raise ImpossibleError(f"{param}: {impossible}", param) from impossible


def _from_lists(value: TensorValue, param: str) -> np.ndarray:
    """Numbers as `_listed` writes them: null is -inf."""
    try:
        flat = np.array(value.data, dtype=object).ravel()
        types = set(map(type, flat))
        if not types <= {int, float, NoneType}:
            raise TypeError
        if NoneType in types:
            flat[[each is None for each in flat]] = -np.inf
        with np.errstate(over="raise"):
            floats = flat.astype(np.float64).astype(np.float32)
        if np.isnan(floats).any():
            raise OverflowError
        return floats
    except (FloatingPointError, OverflowError):
        raise ImpossibleError(f"{param}: data contains a number beyond float32", param) from None
    except TypeError:
        raise ImpossibleError(
            f"{param}: data must be lists of numbers, none ragged", param
        ) from None


def _from_base64(value: TensorValue, param: str) -> np.ndarray:
    try:
        raw = a2b_base64(value.data_base64 or "", strict_mode=True)
        flat = np.frombuffer(raw, STORED[value.dtype])
    except ValueError as error:
        raise ImpossibleError(
            f"{param}: data_base64 is not {value.dtype}: {error}", param
        ) from None
    return numbers(flat, value.dtype).astype(np.float32)
