"""The arrays of a file, taken by name and checked by shape; what nobody takes is an error."""

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import mlx.core as mx
import numpy as np
from safetensors import SafetensorError, safe_open

from engine.errors import FeatureSetError

Shape = tuple[int | None, ...]


class Tensors:
    """The arrays of one file, or of several read as one, in float32."""

    def __init__(self, source: Path, arrays: Mapping[str, mx.array]):
        self.source = source
        self._arrays = dict(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def take(self, name: str, *shape: int | None) -> mx.array:
        """An array, which has to be there and to have this shape (None: any size of that axis)."""
        if name not in self._arrays:
            there = ", ".join(sorted(self._arrays)) or "nothing more"
            raise FeatureSetError(f"{self.source} has no tensor {name}; it has {there}")
        array = self._arrays.pop(name)
        fits = len(shape) == array.ndim and all(
            size in (None, found) for size, found in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise FeatureSetError(
                f"{self.source}: {name} has shape {list(array.shape)}, not [{wanted}]"
            )
        if not mx.all(mx.isfinite(array)).item():
            raise FeatureSetError(f"{self.source}: {name} has numbers that are not finite")
        return array

    def take_if_there(self, name: str, *shape: int | None) -> mx.array | None:
        return self.take(name, *shape) if name in self else None

    def check_all_taken(self, architecture: str) -> None:
        """Raise FeatureSetError for what would take no part in the computation."""
        if self._arrays:
            names = ", ".join(sorted(self._arrays))
            raise FeatureSetError(f"{self.source}: {names} is no part of {architecture}")


def read_safetensors(path: Path) -> Tensors:
    """The arrays of a safetensors file. Raises FeatureSetError for one that is not whole."""
    try:
        with safe_open(path, framework="np"):
            pass  # checks that the file is as long as its header says
        arrays = mx.load(str(path))
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise FeatureSetError(f"{path} cannot be read: {error}") from error
    assert isinstance(arrays, dict)
    return Tensors(path, {name: _float32(path, name, array) for name, array in arrays.items()})


def read_npz(path: Path) -> Tensors:
    """The arrays of a numpy archive. Raises FeatureSetError for one that is not whole."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: mx.array(archive[name].astype(np.float32)) for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise FeatureSetError(f"{path} cannot be read: {error}") from error
    return Tensors(path, arrays)


def _float32(path: Path, name: str, array: mx.array) -> mx.array:
    if not mx.issubdtype(array.dtype, mx.floating):
        raise FeatureSetError(f"{path}: {name} is made of {array.dtype}, not of floating numbers")
    widened = array.astype(mx.float32, stream=mx.cpu)
    mx.eval(widened)
    return widened


def transposed(array: mx.array) -> mx.array:
    """A matrix with its axes exchanged, in memory of its own."""
    result = mx.contiguous(array.T)
    mx.eval(result)
    return result
