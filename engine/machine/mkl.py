"""Intel's MKL, where it is installed already: by conda, by the wheel `mkl`, by the system."""

import os
import sys
from collections.abc import Iterator
from ctypes import CDLL, RTLD_GLOBAL
from pathlib import Path

VERSIONS = (3, 2, 1)
LAYER = "MKL_THREADING_LAYER"


def load_mkl() -> CDLL:
    """MKL's one library for all purposes; raises OSError if there is none."""
    mkl = _first_of(f"libmkl_rt.so.{version}" for version in VERSIONS)
    _choose_threads()
    return mkl


def _choose_threads() -> None:
    """Name the thread library that is there: MKL ends the process where its default is missing."""
    if LAYER in os.environ:
        return
    for layer, library in (("INTEL", "libiomp5.so"), ("GNU", "libgomp.so.1")):
        try:
            _first_of([library], RTLD_GLOBAL)
        except OSError:
            continue
        os.environ[LAYER] = layer
        return
    os.environ[LAYER] = "SEQUENTIAL"


def _first_of(names: Iterator[str] | list[str], mode: int = 0) -> CDLL:
    """The first library that is there: found by the dynamic linker, or in Python's own folder."""
    places = [place for name in names for place in (name, Path(sys.prefix) / "lib" / name)]
    for place in places:
        try:
            return CDLL(str(place), mode)
        except OSError as error:
            reason = error
    raise reason
