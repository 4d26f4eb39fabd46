"""A fast BLAS for MLX on a Linux CPU, where its wheel brings Netlib's reference BLAS.

The first library that is loaded for all to see supplies the names that MLX looks up later, so a
BLAS loaded before `mlx.core` serves every matrix product. Intel's MKL is taken where it is
installed, else the system's OpenBLAS, else that of the wheel `scipy-openblas32`. Before it goes
a library of our own for products of a few rows.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from ctypes import CDLL, RTLD_GLOBAL
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution

from engine.machine.few_rows import NotCompiledError, load_few_rows, send_few_rows
from engine.machine.mkl import load_mkl
from engine.machine.openblas import renamed_openblas

SYSTEM_LIBRARY = "libopenblas.so.0"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """A BLAS, how it is loaded, and how it is told a number of threads.

    `variables` are those of the environment by which a user chooses that number.
    """

    name: str
    load: Callable[[], CDLL]
    set_threads: str
    get_threads: str
    variables: frozenset[str]


@dataclass(frozen=True)
class Blas:
    """The BLAS in use: its name, its file, its threads, and what multiplies a few rows."""

    name: str
    library: str
    threads: int
    few_rows: str

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.name} ({self.library}), {threads}; products of a few rows {self.few_rows}"


def _load_openblas() -> CDLL:
    try:
        return CDLL(SYSTEM_LIBRARY)
    except OSError:
        return CDLL(str(renamed_openblas()))


MKL = Kind(
    "MKL",
    load_mkl,
    "MKL_Set_Num_Threads",
    "MKL_Get_Max_Threads",
    frozenset({"MKL_NUM_THREADS", "OMP_NUM_THREADS"}),
)
OPENBLAS = Kind(
    "OpenBLAS",
    _load_openblas,
    "openblas_set_num_threads",
    "openblas_get_num_threads",
    frozenset({"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}),
)
WHEELS_OWN = "the BLAS of MLX's own wheel"

_in_use: Blas | None = None


def use_fast_blas() -> None:
    """Put a fast BLAS in place for MLX's CPU backend on Linux; elsewhere do nothing.

    If it cannot be done, one warning is logged that says why, and MLX works as it is.
    """
    global _in_use
    if sys.platform != "linux" or not _cpu_backend_installed():
        return
    if "mlx.core" in sys.modules:
        _stays_slow("mlx.core was imported before engine")
        return
    try:
        kind, library = _first_there()
    except PackageNotFoundError as missing:
        _stays_slow(f"{missing.name} is not installed")
    except (OSError, subprocess.CalledProcessError) as reason:
        _stays_slow(reason)
    else:
        _in_use = _put_in_place(kind, library)


def blas_in_use() -> str:
    """A line about the BLAS that MLX's products on the CPU are computed with."""
    if sys.platform == "darwin":
        return "Accelerate"
    return str(_in_use or WHEELS_OWN)


def _stays_slow(reason: object) -> None:
    logger.warning("MLX stays slow, on the reference BLAS of its wheel: %s", reason)


def _cpu_backend_installed() -> bool:
    try:
        return bool(distribution("mlx-cpu"))
    except PackageNotFoundError:
        return False


def _first_there() -> tuple[Kind, CDLL]:
    try:
        return MKL, MKL.load()
    except OSError:
        return OPENBLAS, OPENBLAS.load()


def _put_in_place(kind: Kind, library: CDLL) -> Blas:
    """Load for all to see what multiplies a few rows, and after it the BLAS.

    MKL loads its parts for all to see at its first call, hence nothing is called before.
    """
    try:
        few_rows = load_few_rows()
        described = f"by {few_rows._name}"
    except (NotCompiledError, OSError) as reason:
        few_rows = None
        described = f"by it too, several times slower: {reason}"
    CDLL(library._name, RTLD_GLOBAL)
    _leave_a_core(kind, library)
    threads = library[kind.get_threads]()
    if few_rows:
        send_few_rows(few_rows, library, threads)
    return Blas(kind.name, library._name, threads, described)


def _leave_a_core(kind: Kind, library: CDLL) -> None:
    """One thread a core, but one core for others, unless the user has chosen a number.

    A BLAS's threads wait for each other without sleeping, several hundred times a forward pass:
    with a thread on each core, one other busy process makes every product wait for its turn.
    """
    if kind.variables.isdisjoint(os.environ):
        library[kind.set_threads](max(1, len(os.sched_getaffinity(0)) - 1))
