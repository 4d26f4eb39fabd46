"""Tensors in an image: the numbers are numpy's, and what does not fit is an error."""

import base64

import numpy as np
import pytest

from systems import System, answer

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7 - 1
SPECIAL = [0.0, 1.5, -2.25, 65504.0, 6e-8, -6.1e-5, 3.140625]


def tensor(values: np.ndarray) -> str:
    data = base64.b64encode(values.tobytes()).decode()
    shape = " ".join(map(str, values.shape))
    return (
        "(ActivationTensor fromRecord: (LMStudioRecord withAll: {"
        f"'shape' -> #({shape}). 'dtype' -> '{values.dtype}'. 'data_base64' -> '{data}'}}))"
    )


def test_reductions_are_those_of_numpy(system: System) -> None:
    expression = f"| t | t := {tensor(VALUES)};; {{t sum. t mean. t std. t norm. t min. t max}}"
    double = VALUES.astype(np.float64)
    expected = [double.sum(), double.mean(), double.std(), np.linalg.norm(double)]
    assert answer(system, expression) == pytest.approx(
        [*expected, double.min(), double.max()], rel=1e-12
    )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_floats_are_decoded_exactly(system: System, dtype: str) -> None:
    values = np.array(SPECIAL, dtype)
    decoded = np.float32(answer(system, f"{tensor(values)} data"))
    assert np.array_equal(decoded, values.astype(np.float32))


def test_bfloat16_is_the_upper_half_of_float32(system: System) -> None:
    halves = (np.array(SPECIAL, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    expression = tensor(halves).replace("uint16", "bfloat16") + " data"
    expected = (halves.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(np.float32(answer(system, expression)), expected)


def test_integers_are_decoded_with_their_sign(system: System) -> None:
    values = np.array([0, 1, -1, 70000, -(2**23)], np.int32)
    assert answer(system, f"{tensor(values)} data") == values.tolist()
