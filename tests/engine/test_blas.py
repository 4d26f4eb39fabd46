"""On a Linux CPU, MLX's matrix products and factorisations are OpenBLAS's."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from engine.blas import SYSTEM_LIBRARY, _file, _renamed_openblas, shared_names

NAMES = {
    *("cblas_cgemm", "cblas_dgemm", "cblas_sgemm", "cgeev_", "cgesdd_", "cheevd_"),
    *("dgeev_", "dgeqrf_", "dgesdd_", "dgetrf_", "dgetri_", "dorgqr_", "dpotrf_"),
    *("dsyevd_", "dtrtri_", "sgeev_", "sgeqrf_", "sgesdd_", "sgetrf_", "sgetri_"),
    *("sorgqr_", "spotrf_", "ssyevd_", "strtri_"),
}
COUNT_THREADS = "scipy_openblas_get_num_threads"
PRODUCT = "import mlx.core as mx; print((mx.ones((4, 8)) @ mx.ones((8, 4))).sum().item())"
WITHOUT_OPENBLAS = """
import ctypes, importlib.metadata as metadata
def hidden(name, real=metadata.version):
    if name == "scipy-openblas32":
        raise metadata.PackageNotFoundError(name)
    return real(name)
class CDLL(ctypes.CDLL):
    def __init__(self, name, *arguments, **keywords):
        if name == "libopenblas.so.0":
            raise OSError(name)
        super().__init__(name, *arguments, **keywords)
metadata.version, ctypes.CDLL = hidden, CDLL
"""
FACTORISATIONS = """
import engine, json, sys
import mlx.core as mx
cpu = dict(stream=mx.cpu)
a = mx.array(json.load(sys.stdin))
spd = a @ a.T + mx.eye(len(a))
q, r = mx.linalg.qr(a, **cpu)
u, s, vt = mx.linalg.svd(a, **cpu)
answers = dict(
    product=a @ a.T, qr=q @ r, svd=(u * s) @ vt, singular=s,
    inverse=mx.linalg.inv(a, **cpu), cholesky=mx.linalg.cholesky(spd, **cpu),
    eigenvalues=mx.linalg.eigvalsh(spd, **cpu),
)
print(json.dumps({name: answer.tolist() for name, answer in answers.items()}))
"""


def run(code: str, standard_input: str = "", **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        input=standard_input,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )


def bindings(tmp_path: Path, code: str, **environment: str) -> dict[str, Path]:
    """Which library answers each of libmlx's BLAS and LAPACK names, by the dynamic linker."""
    log = tmp_path / "linker"
    run(code, LD_DEBUG="bindings", LD_DEBUG_OUTPUT=str(log), **environment)
    lines = "".join(path.read_text(errors="replace") for path in tmp_path.glob("linker.*"))
    bound = re.findall(r"binding file \S*libmlx\.so \[0\] to (\S+) \[0\]: .*`(\w+)'", lines)
    return {name: Path(library) for library, name in bound if name in NAMES}


def test_every_name_that_mlx_looks_up_is_answered_by_openblas(tmp_path):
    bound = bindings(tmp_path, f"import engine; {PRODUCT}")
    assert set(bound) == NAMES
    assert {library.name.split(".")[0] for library in bound.values()} == {"libopenblas"}


def test_the_names_to_rename_are_read_from_the_libraries_themselves():
    openblas = _file(distribution("scipy-openblas32"), "libscipy_openblas.so")
    libmlx = _file(distribution("mlx-cpu"), "libmlx.so")
    assert {name.decode() for name in shared_names(openblas, libmlx)} == NAMES


def test_the_systems_openblas_goes_before_the_wheels(tmp_path):
    (tmp_path / SYSTEM_LIBRARY).symlink_to(_renamed_openblas())
    cache = tmp_path / "cache"
    bound = bindings(
        tmp_path,
        f"import engine; {PRODUCT}",
        LD_LIBRARY_PATH=str(tmp_path),
        NEUROSCOPE_CACHE=str(cache),
    )
    assert {library.parent for library in bound.values()} == {tmp_path}
    assert not cache.exists()


def test_products_and_factorisations_agree_with_numpy():
    a = np.random.default_rng(0).normal(size=(24, 24)).astype(np.float32)
    spd = a @ a.T + np.eye(24, dtype=np.float32)
    expected = {
        "product": a @ a.T,
        "qr": a,
        "svd": a,
        "singular": np.linalg.svd(a)[1],
        "inverse": np.linalg.inv(a),
        "cholesky": np.linalg.cholesky(spd),
        "eigenvalues": np.linalg.eigvalsh(spd),
    }
    answers = json.loads(run(FACTORISATIONS, json.dumps(a.tolist())).stdout)
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, expected[name], rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, max(1, len(os.sched_getaffinity(0)) - 1)), ({"OPENBLAS_NUM_THREADS": "2"}, 2)],
    ids=["by default", "as the user chose"],
)
def test_a_core_is_left_to_others_unless_the_user_says_otherwise(
    monkeypatch, tmp_path, chosen, expected
):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / SYSTEM_LIBRARY).symlink_to(_renamed_openblas())
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    count = f"import engine, ctypes; print(ctypes.CDLL({SYSTEM_LIBRARY!r}).{COUNT_THREADS}())"
    assert int(run(count, **chosen).stdout) == min(expected, os.cpu_count())


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"{WITHOUT_OPENBLAS}\nimport engine", "scipy-openblas32 is not installed"),
        ("import mlx.core, engine, engine.blas", "mlx.core was imported before engine"),
    ],
    ids=["no OpenBLAS to be had", "MLX imported first"],
)
def test_without_a_fast_blas_it_is_said_once_and_mlx_works(code, reason):
    ran = run(f"{code}\n{PRODUCT}")
    assert ran.stdout == "128.0\n"
    assert ran.stderr == f"MLX stays slow, on the reference BLAS of its wheel: {reason}\n"


def test_with_a_fast_blas_nothing_is_said():
    ran = run(f"import engine; {PRODUCT}")
    assert (ran.stdout, ran.stderr) == ("128.0\n", "")


def test_a_cuda_install_is_left_alone():
    hide = (
        "import importlib.metadata as metadata\n"
        "real = metadata.distribution\n"
        "def hidden(name):\n"
        "    if name == 'mlx-cpu': raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.distribution = hidden\n"
        "import engine\n"
        "print('openblas' in open('/proc/self/maps').read())"
    )
    ran = run(hide)
    assert (ran.stdout, ran.stderr) == ("False\n", "")
