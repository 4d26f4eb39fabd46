"""The arithmetic of tensors in an image: shapes and numbers are numpy's."""

from typing import Any

import numpy as np
import pytest

from systems import System, answer

DOUBLES = np.arange(24, dtype=np.float32).reshape(2, 3, 4).astype(np.float64) * 0.375 - 4.0
ROW = np.array([1.5, -2.0, 0.25, 3.0])
MATRIX = np.array([[0.5, -1.0], [2.0, 0.0], [1.25, 4.0], [-3.0, 1.0]])


def literal(values: np.ndarray) -> str:
    """A tensor of numbers that single floats hold exactly."""
    data = " ".join(str(number) for number in values.ravel())
    shape = " ".join(map(str, values.shape))
    return f"(ActivationTensor data: #({data}) shape: #({shape}))"


def softmax(values: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(values - values.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


BATCH = np.stack([MATRIX, MATRIX * 2 - 1])
TENSORS: dict[str, tuple[str, np.ndarray]] = {
    "plus a number": ("t + 2.5", DOUBLES + 2.5),
    "minus a tensor": ("t - (t * t)", DOUBLES - DOUBLES * DOUBLES),
    "times the last axis": ("t * row", DOUBLES * ROW),
    "the last axis times it": ("row * t", ROW * DOUBLES),
    "divided": ("t / 8", DOUBLES / 8),
    "greater than": ("t > 0", (DOUBLES > 0) * 1.0),
    "greater than a tensor": ("t > row", (DOUBLES > ROW) * 1.0),
    "absolute": ("t abs", np.abs(DOUBLES)),
    "copy": ("t copy", DOUBLES),
    "first": ("t first", DOUBLES[0]),
    "last": ("t last last", DOUBLES[-1, -1]),
    "part": ("t at: 1", DOUBLES[1]),
    "slice of axis 0": ("t slice: (1 to: 1)", DOUBLES[1:2]),
    "slice from 0": ("t slice: (0 to: 1) axis: 2", DOUBLES[:, :, 0:2]),
    "slice of the last axis": ("t slice: #(3 0) axis: -1", DOUBLES[:, :, [3, 0]]),
    "reshape": ("t reshape: #(4 -1)", DOUBLES.reshape(4, -1)),
    "flatten": ("t reshape: #(-1)", DOUBLES.ravel()),
    "transpose": ("t transpose", DOUBLES.transpose()),
    "transpose to an order": ("t transpose: #(1 0 2)", DOUBLES.transpose(1, 0, 2)),
    "transpose in a circle": ("t transpose: #(2 0 1)", DOUBLES.transpose(2, 0, 1)),
    "matrix product": ("t first matmul: m", DOUBLES[0] @ MATRIX),
    "batch by a matrix": ("t matmul: m", DOUBLES @ MATRIX),
    "batch by batch": ("t matmul: b", DOUBLES @ BATCH),
    "by a vector": ("t matmul: row", DOUBLES @ ROW),
    "vector by a matrix": ("row matmul: m", ROW @ MATRIX),
    "softmax": ("t softmax", softmax(DOUBLES, -1)),
    "softmax along an axis": ("t softmax: 1", softmax(DOUBLES, 1)),
    "softmax of large numbers": ("(t * 1000) softmax", softmax(DOUBLES * 1000, -1)),
    "sums along an axis": ("t sum: 1", DOUBLES.sum(1)),
    "means along the last axis": ("t mean: -1", DOUBLES.mean(-1)),
    "norms along an axis": ("t norm: 0", np.linalg.norm(DOUBLES, axis=0)),
    "largest values along an axis": (
        "(t negated topK: 2 axis: 1) at: #values",
        -np.sort(DOUBLES, axis=1)[:, :2],
    ),
    "indices of the largest": (
        "(t negated topK: 2 axis: 1) at: #indices",
        np.argsort(DOUBLES, axis=1)[:, :2].astype(float),
    ),
    "ones": ("ActivationTensor ones: #(2 2)", np.ones((2, 2))),
    "nested data": ("ActivationTensor withData: #(#(1 2) #(3 4)) shape: #(2 2)", [[1, 2], [3, 4]]),
    "lazy data": (
        "ActivationTensor lazyData: [:shape | {shape first * 2. 7}] shape: #(2)",
        [4, 7],
    ),
    "through JSON": ("ActivationTensor fromJSON: t asJSON", DOUBLES),
    "without some heads": (
        "(t reshape: #(1 2 3 4)) zeroHeads: #(1)",
        np.stack([DOUBLES[0], 0 * DOUBLES[1]])[None],
    ),
    "one head": ("(t reshape: #(1 2 3 4)) splitByHeads at: 2", DOUBLES[1][None]),
}


def evaluate(system: System, expressions: list[str]) -> list[Any]:
    """The values of expressions about four tensors, all in one run."""
    values = ". ".join(f"[{expression}] value" for expression in expressions)
    return answer(
        system,
        f"| t row m b u | t := {literal(DOUBLES)};; row := {literal(ROW)};; m := {literal(MATRIX)}"
        f";; b := {literal(BATCH)};; {{{values}}}",
    )


@pytest.fixture(scope="module")
def tensors(system: System) -> dict[str, np.ndarray]:
    parts = [f"[:each | {{each shape. each data}}] value: ({e})" for e, _ in TENSORS.values()]
    answers = evaluate(system, parts)
    return {
        name: np.array(data).reshape(shape)
        for name, (shape, data) in zip(TENSORS, answers, strict=True)
    }


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_are_those_of_numpy(tensors: dict[str, np.ndarray], name: str) -> None:
    expected = np.array(TENSORS[name][1])
    assert tensors[name].shape == expected.shape
    assert tensors[name] == pytest.approx(expected, rel=1e-6, abs=1e-7)
