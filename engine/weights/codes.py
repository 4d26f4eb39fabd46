"""Which output of which layer a value is: codes that survive reshaping, and how they are read.

Where the outputs of a model's linear layers are replaced by codes, whatever is later only split,
transposed, reshaped or scaled by a constant shows where each of its numbers came from. Every code
is a multiple of 1/128 between 0 and 1, so that it is exact in bfloat16 and passes any clipping.
"""

from dataclasses import dataclass

import numpy as np

BASE = 128
INDEX_DIGITS = 3
NUMBER_DIGITS = 2
CONSTANTS = {"zero": 0.0, "one": 1.0, "minus": -1.0}


@dataclass(frozen=True, eq=False)
class Origin:
    """Where each number of a value comes from: ``value = shift + scale * output[index]``.

    `number` is the layer's, `index` the output's; all have the shape of the value.
    """

    number: np.ndarray
    index: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


def digit(values: np.ndarray | int, place: int) -> np.ndarray:
    """The code of one digit of some numbers, the lowest at place 0."""
    return (np.asarray(values) // BASE**place % BASE / BASE).astype(np.float32)


def decoded(read: dict[str, np.ndarray]) -> Origin | None:
    """The origin of a value, from what it was in each pass; None if it is not that of one output.

    The passes are those of `CONSTANTS`, ``index0`` and on, and ``number0`` and on (if any).
    """
    shift, scale = read["zero"], read["one"] - read["zero"]
    if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale != 0).all()):
        return None
    if not np.allclose(read["minus"] - shift, -scale, rtol=1e-2, atol=0):
        return None
    numbers = []
    for kind, digits in (("number", NUMBER_DIGITS), ("index", INDEX_DIGITS)):
        number = np.zeros(scale.shape, dtype=np.int64)
        for place in range(digits):
            if f"{kind}{place}" not in read:
                continue
            code = (read[f"{kind}{place}"] - shift) / scale * BASE
            whole = np.rint(code)
            if not (np.abs(code - whole) < 0.25).all() or whole.min() < 0 or whole.max() >= BASE:
                return None
            number += whole.astype(np.int64) * BASE**place
        numbers.append(number)
    return Origin(*numbers, scale, shift)
