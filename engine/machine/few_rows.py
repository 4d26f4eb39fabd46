"""Products of a few rows that read the matrix once, compiled where there is a C compiler.

`few_rows.c` says how. It is compiled once, into the cache.
"""

import os
import platform
import shutil
import subprocess
from ctypes import CDLL, RTLD_GLOBAL, c_void_p, cast
from hashlib import sha256
from pathlib import Path

from engine.cache import build_once, cache_folder

SOURCE = Path(__file__).with_name("few_rows.c")
COMPILERS = ("cc", "gcc", "clang")


class NotCompiledError(Exception):
    """There is no C compiler, or it refused; says so."""


def load_few_rows() -> CDLL:
    """The compiled library, loaded so that names which are looked up later are found in it.

    Raises NotCompiledError, OSError. `send_few_rows` has to follow before any product.
    """
    return CDLL(str(_compiled()), RTLD_GLOBAL)


def send_few_rows(library: CDLL, blas: CDLL, threads: int) -> None:
    """Leave other products to `blas`, which uses so many threads; with several of them its own
    product of one row is used, which shares the matrix among them."""
    library.few_rows_by(cast(blas.cblas_sgemm, c_void_p), cast(blas.cblas_sgemv, c_void_p), threads)


def _compiled() -> Path:
    name = f"{sha256(SOURCE.read_bytes()).hexdigest()[:16]}-{platform.machine()}"
    return build_once(cache_folder() / "few_rows" / name, _compile) / "libfew_rows.so"


def _compile(folder: Path) -> None:
    compiler = next(filter(shutil.which, [os.environ.get("CC", ""), *COMPILERS]), None)
    if compiler is None:
        raise NotCompiledError("there is no C compiler")
    options: list[str | Path] = ["-O2", "-shared", "-fPIC", "-o", folder / "libfew_rows.so"]
    try:
        subprocess.run([compiler, *options, SOURCE], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as refused:
        raise NotCompiledError(f"{compiler} refused: {refused.stderr.strip()}") from refused
