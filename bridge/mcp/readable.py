"""Tensors as a language model can read them: as numbers where there are few, else described."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bridge.wire import from_record

MOST_NUMBERS = 512
"""A tensor of so many values is written out: the effects of all heads of a small model."""
LARGEST = 10
DIGITS = 6


def readable(reply: Any) -> Any:
    """A JSON reply whose tensors in base64 are replaced by what `described` makes of them."""
    if isinstance(reply, Mapping):
        if reply.get("data_base64") is not None:
            about = {name: value for name, value in reply.items() if name != "data_base64"}
            return about | described(from_record(reply, {}))
        return {name: readable(value) for name, value in reply.items()}
    return [readable(each) for each in reply] if isinstance(reply, list) else reply


def described(array: np.ndarray) -> dict[str, Any]:
    """The numbers of an array as nested lists, six digits each.

    Of more than 512 numbers: the mean, least, greatest, Euclidean norm, and the ten largest by
    magnitude with their indices, which is said in the reply.
    """
    values = np.asarray(array, dtype="f8")
    if values.size <= MOST_NUMBERS:
        return {"shape": list(values.shape), "values": _rounded(values)}
    order = np.argsort(-np.abs(values), axis=None)[:LARGEST]
    places = np.stack(np.unravel_index(order, values.shape), axis=-1)
    return {
        "shape": list(values.shape),
        "mean": _rounded(values.mean()),
        "least": _rounded(values.min()),
        "greatest": _rounded(values.max()),
        "norm": _rounded(np.linalg.norm(values)),
        "largest_by_magnitude": [
            {"index": place.tolist(), "value": _rounded(values[tuple(place)])} for place in places
        ],
        "note": f"described: only tensors of up to {MOST_NUMBERS} numbers are written out; "
        "ask for fewer positions or heads to read them",
    }


def _rounded(values: Any) -> Any:
    """Python numbers of six digits; what is not finite, which JSON lacks, as text."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [_rounded(each) for each in values]
    number = float(f"{float(values):.{DIGITS}g}")
    return number if np.isfinite(number) else str(number)
