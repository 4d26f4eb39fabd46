"""Tensors of a file that `torch.save` wrote, read without PyTorch and without running its pickle.

The file is a zip with one pickle and the bytes of each storage. Only what rebuilds dictionaries and
tensors is understood: whatever else the pickle names is refused, and nothing of it is called.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from engine.errors import InvalidRequestError

LARGEST_PICKLE = 1 << 24
STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf2",
    "LongStorage": "i8",
    "IntStorage": "i4",
}
"""Kinds of storage by PyTorch's names, and their numbers as numpy has them; it has no bfloat16."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is read from the file when it is asked for."""

    path: Path
    entry: str
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """The numbers, of a floating point kind in float32."""
        size = int(self.kind[-1])
        last = self.offset + sum(
            step * (count - 1) for step, count in zip(self.strides, self.shape, strict=True)
        )
        with _refused(self.path), ZipFile(self.path) as archive:
            held = archive.getinfo(self.entry).file_size // size
            if 0 in self.shape or last >= held:
                raise InvalidRequestError(
                    f"{self.path.name}: a tensor of shape {self.shape} reaches past its storage"
                )
            raw = archive.read(self.entry)
        if self.kind == "bf2":
            flat = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            flat = np.frombuffer(raw[: held * size], f"<{self.kind}")
        steps = [step * flat.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, steps)
        return view.astype(np.float32) if flat.dtype.kind == "f" else view.copy()


def read_torch_file(path: Path) -> Any:
    """What was saved: dictionaries, lists, numbers and texts, with `StoredTensor` for tensors.

    Raises InvalidRequestError for a file that is damaged, of the format before PyTorch 1.6, or that
    contains anything else.
    """
    with _refused(path), ZipFile(path) as archive:
        names = archive.namelist()
        pickled = next((name for name in names if name.endswith("/data.pkl")), None)
        if pickled is None:
            raise InvalidRequestError(f"{path.name}: the archive contains no data.pkl")
        root = pickled.removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in names and archive.read(order).strip() != b"little":
            raise InvalidRequestError(f"{path.name}: its bytes are not little-endian")
        if archive.getinfo(pickled).file_size > LARGEST_PICKLE:
            raise InvalidRequestError(f"{path.name}: data.pkl is over {LARGEST_PICKLE} bytes")
        return _Reader(archive.read(pickled), path, root, set(names)).load()


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Raise InvalidRequestError for whatever a damaged archive or pickle makes its reader raise."""
    try:
        yield
    except InvalidRequestError:
        raise
    except BadZipFile:
        raise InvalidRequestError(
            f"{path.name} is no file that torch.save wrote (PyTorch 1.6 or later), or is damaged"
        ) from None
    except Exception as error:
        raise InvalidRequestError(f"{path.name} cannot be read: {error}") from None


class _Reader(pickle.Unpickler):
    """A pickle's machine that knows dictionaries and tensors alone."""

    def __init__(self, body: bytes, path: Path, root: str, entries: set[str]):
        super().__init__(io.BytesIO(body))
        self._path = path
        self._root = root
        self._entries = entries

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        known: Mapping[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        if (module, name) not in known:
            raise InvalidRequestError(
                f"{self._path.name} contains {module}.{name}, which is refused: tensors, "
                "dictionaries, numbers and texts alone are read"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        what, kind, key, *_ = pid
        entry = f"{self._root}data/{key}"
        if what != "storage" or entry not in self._entries or kind not in STORAGES.values():
            raise InvalidRequestError(f"{self._path.name}: there is no storage {key!r}")
        return entry, kind

    def _tensor(
        self, storage: tuple[str, str], offset: int, shape: Any, strides: Any, *_: Any
    ) -> StoredTensor:
        numbers = (offset, *shape, *strides)
        if len(shape) != len(strides) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise InvalidRequestError(f"{self._path.name}: a tensor of shape {shape}")
        entry, kind = storage
        return StoredTensor(self._path, entry, kind, offset, tuple(shape), tuple(strides))
