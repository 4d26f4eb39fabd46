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


def test_a_slice_takes_indices_from_0_along_an_axis(system: System) -> None:
    for axis, indices in ((0, [1]), (1, [2, 0]), (2, [3, 1])):
        chosen = " ".join(map(str, indices))
        expression = (
            f"| t | t := {tensor(VALUES)} slice: #({chosen}) axis: {axis};; {{t shape. t data}}"
        )
        expected = np.take(VALUES, indices, axis)
        shape, data = answer(system, expression)
        assert shape == list(expected.shape)
        assert np.array_equal(np.float32(data), expected.ravel())


def test_an_element_is_found_by_its_indices(system: System) -> None:
    expression = f"| t | t := {tensor(VALUES)};; {{t at: #(0 0 0). t at: #(1 2 3). t at: #(1 0 2)}}"
    expected = [VALUES[0, 0, 0], VALUES[1, 2, 3], VALUES[1, 0, 2]]
    assert np.array_equal(np.float32(answer(system, expression)), np.float32(expected))


def test_nested_arrays_are_flattened_row_by_row(system: System) -> None:
    expression = "(ActivationTensor data: #(#(1 2 3) #(4 5 6)) shape: #(2 3)) data"
    assert answer(system, expression) == [1, 2, 3, 4, 5, 6]


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


def test_a_tensor_travels_to_the_server_and_back_unchanged(system: System) -> None:
    expression = (
        f"(ActivationTensor fromRecord: {tensor(VALUES)} asRecord) asRecord at: 'data_base64'"
    )
    assert base64.b64decode(answer(system, expression)) == VALUES.tobytes()


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("ActivationTensor data: #(1 2 3) shape: #(2 2)", "needs 4 numbers, the data has 3"),
        ("ActivationTensor data: #(1 2 3 4 5) shape: #(2 2)", "needs 4 numbers, the data has 5"),
        ("(ActivationTensor zeros: #(2 2)) at: #(0 2)", "index 2 is outside axis 1 of length 2"),
        ("(ActivationTensor zeros: #(2 2)) slice: #(0) axis: 2", "no axis 2"),
        ("(ActivationTensor zeros: #(0)) mean", "no elements"),
    ],
)
def test_what_does_not_fit_is_a_shape_error(system: System, expression: str, message: str) -> None:
    caught = f"[{expression}. 'nothing'] on: ShapeMismatchError do: [:error | error messageText]"
    assert message in answer(system, caught)


def test_only_numbers_can_be_elements(system: System) -> None:
    caught = (
        "[ActivationTensor data: #('one') shape: #(1). 'nothing'] "
        "on: InvalidDataError do: [:error | error messageText]"
    )
    assert "numbers" in answer(system, caught)
