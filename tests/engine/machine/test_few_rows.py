"""Products of a few rows agree with float64's, read the matrix once, and pass all others on."""

import os
import shutil
import subprocess
import sys
from ctypes import CDLL, c_float, c_void_p
from time import perf_counter

import numpy as np
import pytest

from engine.machine.few_rows import _compiled, send_few_rows
from engine.machine.openblas import renamed_openblas

ROW_MAJOR, COLUMN_MAJOR, PLAIN, TRANSPOSED = 101, 102, 111, 112
SHAPES = [(1, 7, 5), (1, 64, 33), (2, 7, 16), (4, 9, 40), (5, 9, 40), (7, 1, 5), (33, 1, 64)]
SHAPES += [(1, 1, 1), (1, 1, 40), (3, 1, 17), (20, 30, 40)]
DESCRIBED = "import engine; from engine.machine.blas import blas_in_use; print(blas_in_use())"


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def sgemm(request, tmp_path_factory):
    """`cblas_sgemm` of a copy of our own: the one that MLX uses here goes on as it is."""
    copy = tmp_path_factory.mktemp("few_rows") / "libfew_rows.so"
    shutil.copy(_compiled(), copy)
    library = CDLL(str(copy))
    send_few_rows(library, CDLL(str(renamed_openblas())), request.param)
    return library.cblas_sgemm


def stored(rows: int, columns: int, transposed: bool, beyond: int) -> tuple[np.ndarray, int]:
    """Random numbers as they are in memory, each line `beyond` numbers longer than needed."""
    lines, width = (columns, rows) if transposed else (rows, columns)
    memory = np.random.default_rng(rows * 100 + columns).normal(size=(lines, width + beyond))
    return memory.astype(np.float32), width + beyond


def pointer(array: np.ndarray) -> c_void_p:
    return c_void_p(array.ctypes.data)


def multiplied(sgemm, shape, ta, tb, alpha=1.0, beta=0.0, beyond=0, order=ROW_MAJOR):
    """The product as it was computed, and in float64."""
    m, n, k = shape
    swap = order == COLUMN_MAJOR
    a, lda = stored(m, k, (ta == TRANSPOSED) != swap, beyond)
    b, ldb = stored(k, n, (tb == TRANSPOSED) != swap, beyond)
    c, ldc = stored(m, n, swap, beyond)
    before = c.copy()
    if beta == 0:
        c[:] = np.nan
    f = c_float
    sgemm(
        order, ta, tb, m, n, k, f(alpha), pointer(a), lda, pointer(b), ldb, f(beta), pointer(c), ldc
    )

    def matrix(memory, rows, columns, transposed):
        memory = memory.astype(np.float64)
        return memory[:, :rows].T if transposed else memory[:, :columns]

    expected = alpha * (
        matrix(a, m, k, (ta == TRANSPOSED) != swap) @ matrix(b, k, n, (tb == TRANSPOSED) != swap)
    ) + beta * matrix(before, m, n, swap)
    return matrix(c, m, n, swap), expected


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("tb", [PLAIN, TRANSPOSED], ids=["b", "b transposed"])
@pytest.mark.parametrize("ta", [PLAIN, TRANSPOSED], ids=["a", "a transposed"])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.5, 2.0)])
@pytest.mark.parametrize("beyond", [0, 3], ids=["packed", "with gaps"])
def test_products_agree_with_float64(sgemm, shape, ta, tb, alpha, beta, beyond):
    product, expected = multiplied(sgemm, shape, ta, tb, alpha, beta, beyond)
    np.testing.assert_allclose(product, expected, rtol=1e-5, atol=1e-5)


def test_the_order_by_columns_is_passed_on(sgemm):
    product, expected = multiplied(sgemm, (1, 7, 5), PLAIN, PLAIN, order=COLUMN_MAJOR)
    np.testing.assert_allclose(product, expected, rtol=1e-5, atol=1e-5)


def test_a_row_is_the_same_alone_and_among_a_few():
    import mlx.core as mx

    x, w = mx.random.normal((4, 200)), mx.random.normal((300, 200))
    together = np.array(x @ w.T)
    for row in range(4):
        np.testing.assert_array_equal(np.array(x[row : row + 1] @ w.T)[0], together[row])


def test_one_row_is_faster_than_by_the_blas():
    w = np.ones((16384, 576), np.float32)
    x, y = np.ones((1, 576), np.float32), np.zeros((1, 16384), np.float32)
    blas, ours = CDLL(str(renamed_openblas())), CDLL(str(_compiled()))

    def seconds(sgemm) -> float:
        start = perf_counter()
        f = c_float
        sgemm(
            *(ROW_MAJOR, PLAIN, TRANSPOSED, 1, 16384, 576, f(1), pointer(x), 576),
            *(pointer(w), 576, f(0), pointer(y), 16384),
        )
        return perf_counter() - start

    rounds = [(seconds(ours.cblas_sgemm), seconds(blas.cblas_sgemm)) for _ in range(20)]
    fast, slow = map(min, zip(*rounds, strict=True))
    assert fast < 0.7 * slow


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"PATH": "/nowhere"}, "there is no C compiler"),
        ({"CC": "false"}, "false refused"),
    ],
    ids=["no compiler", "a compiler that refuses"],
)
def test_without_a_compiler_the_blas_multiplies_alone_and_it_is_said(tmp_path, environment, reason):
    product = "import mlx.core as mx; print((mx.ones((1, 8)) @ mx.ones((8, 4))).sum().item())"
    (tmp_path / "openblas").symlink_to(renamed_openblas().parents[1])
    ran = subprocess.run(
        [sys.executable, "-c", f"{DESCRIBED}; {product}"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NEUROSCOPE_CACHE": str(tmp_path)} | environment,
    )
    described, product = ran.stdout.splitlines()
    assert described.startswith("OpenBLAS (")
    assert f"products of a few rows by it too, several times slower: {reason}" in described
    assert product == "32.0"
    assert not (tmp_path / "few_rows").exists() or not list((tmp_path / "few_rows").glob("[!.]*"))
