"""Which output of which layer a value is: codes that survive reshaping, and how they are read.

Where the outputs of a model's linear layers are replaced by codes, whatever is later only split,
transposed, reshaped or scaled by a constant shows where each of its numbers came from. Every code
is a multiple of 1/128 between -1 and 1, so that it is exact in bfloat16 and passes any clipping.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BASE = 128
PLACES = {"number": 2, "index": 3}
"""How many digits are sent of the number of a layer, and of the index of its output."""

Code = Callable[[np.ndarray | int, np.ndarray | int], np.ndarray]
"""What is sent for the output `index` of the layer `number`."""


@dataclass(frozen=True, eq=False)
class Origin:
    """Where each number of a value comes from: ``value = shift + scale * output[index]``.

    `number` is the layer's, `index` the output's; all have the shape of the value.
    """

    number: np.ndarray
    index: np.ndarray
    scale: np.ndarray
    shift: np.ndarray

    @property
    def numbers(self) -> list[int]:
        """The layers."""
        return [int(number) for number in np.unique(self.number)]


def codes() -> dict[str, Code]:
    """What is sent in each pass, by its name."""
    constants = {"zero": 0.0, "one": 1.0, "minus": -1.0}
    passes: dict[str, Code] = {name: _constantly(value) for name, value in constants.items()}
    for place in range(PLACES["number"]):
        passes[f"number{place}"] = _numbered(place)
    for place in range(PLACES["index"]):
        passes[f"index{place}"] = _indexed(place)
    return passes | {"check": _check}


def decoded(read: dict[str, np.ndarray]) -> Origin | None:
    """The origin of a value, from what it was in each pass; None if it is not that of one output,
    times a constant."""
    shift, scale = read["zero"], read["one"] - read["zero"]
    if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale != 0).all()):
        return None
    parts = {}
    for kind, digits in PLACES.items():
        parts[kind] = np.zeros(scale.shape, dtype=np.int64)
        for place in range(digits):
            whole = np.rint((read[f"{kind}{place}"] - shift) / scale * BASE)
            parts[kind] += np.clip(np.nan_to_num(whole), 0, BASE - 1).astype(np.int64) * BASE**place
    origin = Origin(parts["number"], parts["index"], scale, shift)
    for name, code in codes().items():
        expected = shift + scale * code(origin.number, origin.index)
        if not (np.abs(read[name] - expected) <= np.abs(scale) / (4 * BASE)).all():
            return None
    return origin


def _constantly(value: float) -> Code:
    return lambda number, index: np.full(np.shape(index), value, np.float32)


def _numbered(place: int) -> Code:
    return lambda number, index: _digit(number, place)


def _indexed(place: int) -> Code:
    return lambda number, index: _digit(index, place)


def _digit(values: np.ndarray | int, place: int) -> np.ndarray:
    return (np.asarray(values) // BASE**place % BASE / BASE).astype(np.float32)


def _check(number: np.ndarray | int, index: np.ndarray | int) -> np.ndarray:
    """A code of both at once, by which a wrong origin shows."""
    mixed = np.asarray(number) * 7919 + np.asarray(index) * 104729
    return ((mixed % (BASE - 1) + 1) / BASE).astype(np.float32)
