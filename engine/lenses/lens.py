"""A lens: for each layer an affine map of its stream, before final norm and unembedding."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import mlx.core as mx
import numpy as np
from safetensors import SafetensorError, safe_open

from engine.errors import InvalidRequestError
from engine.lenses.torch_file import StoredTensor, read_torch_file
from engine.structure.resolver import Structure

LensKind = Literal["tuned", "jacobian"]
Read = Callable[[], np.ndarray]
PARAMETERS = ("params.safetensors", "params.pt")


@dataclass(frozen=True)
class Lens:
    """How the streams after some layers are read.

    Of a layer l in `matrices`, the stream ``h`` becomes ``h @ W.T + b``, and with `is_residual`
    that is added to ``h``. The layer after which nothing comes is read as it is.
    """

    kind: LensKind
    matrices: Mapping[int, Read]
    biases: Mapping[int, Read]
    is_residual: bool
    width: int

    def check(self, structure: Structure) -> None:
        """Raise InvalidRequestError for a model of another width, or fewer layers."""
        if self.width != structure.hidden_size:
            raise InvalidRequestError(
                f"lens: it is for streams of {self.width} numbers; the model's have "
                f"{structure.hidden_size}"
            )
        beyond = [layer for layer in self.matrices if layer >= structure.layers]
        if beyond:
            raise InvalidRequestError(
                f"lens: it has layer {max(beyond)}; the model has 0 to {structure.layers - 1}"
            )

    def reads(self, layer: int, layers: int) -> bool:
        """Whether it says how to read a layer of so many."""
        return layer in self.matrices or layer == layers - 1

    def translated(self, layer: int, stream: mx.array) -> mx.array:
        """The stream after a layer, ``[…, hidden]``, as that of the last would say it."""
        if layer not in self.matrices:
            return stream
        matrix = self._checked(self.matrices[layer](), (self.width, self.width))
        given = stream.astype(mx.float32)
        read = given @ mx.array(matrix).T
        if layer in self.biases:
            read = read + mx.array(self._checked(self.biases[layer](), (self.width,)))
        return (read + given if self.is_residual else read).astype(stream.dtype)

    def _checked(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if array.shape != shape or not np.isfinite(array).all():
            raise InvalidRequestError(
                f"lens: a tensor of finite numbers of shape {shape} is needed, not this one of "
                f"shape {array.shape}"
            )
        return array.astype(np.float32)


def read_lens(kind: LensKind, path: Path) -> Lens:
    """The lens of a file or folder.

    - ``tuned`` (Belrose et al. 2023, arXiv:2303.08112): a folder with ``config.json`` and
      ``params.pt`` or ``params.safetensors``, tensors ``{i}.weight`` and ``{i}.bias``. Translator i
      reads the stream that enters block i, which is that after block i - 1; the first one reads
      the embedding, and no layer's stream.
    - ``jacobian``: a ``.pt`` file ``{J: {layer: [hidden, hidden]}, d_model, …}``, or safetensors
      with tensors ``J.{layer}``: the stream after a layer becomes ``h @ J.T``.

    Tensors are read when they are used. Raises InvalidRequestError for what is not that.
    """
    return _tuned(path) if kind == "tuned" else _jacobian(path)


def _tuned(folder: Path) -> Lens:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        width, count = int(config["d_model"]), int(config["num_hidden_layers"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = type(error).__name__
        raise InvalidRequestError(
            f"lens: {folder.name} has no config.json with d_model and num_hidden_layers ({what})"
        ) from None
    file = next((folder / name for name in PARAMETERS if (folder / name).is_file()), None)
    if file is None:
        raise InvalidRequestError(f"lens: {folder.name} has none of {', '.join(PARAMETERS)}")
    tensors = _tensors(file)
    matrices: dict[int, Read] = {}
    biases: dict[int, Read] = {}
    for name, read in tensors.items():
        match = re.fullmatch(r"(\d{1,6})\.(weight|bias)", name)
        if match is None or int(match[1]) >= count:
            raise InvalidRequestError(f"lens: {name!r} is no tensor of a lens of {count} layers")
        (matrices if match[2] == "weight" else biases)[int(match[1]) - 1] = read
    if set(matrices) != set(range(-1, count - 1)):
        raise InvalidRequestError(f"lens: {file.name} lacks some of {count} weights")
    matrices.pop(-1)
    biases.pop(-1, None)
    return Lens("tuned", matrices, biases, True, width)


def _jacobian(file: Path) -> Lens:
    if file.suffix == ".safetensors":
        tensors = _tensors(file)
        found = {name: re.fullmatch(r"J\.(\d{1,6})", name) for name in tensors}
        strange = [name for name, match in found.items() if match is None]
        if strange:
            raise InvalidRequestError(f"lens: {strange[0]!r} is no tensor J.0, J.1, …")
        matrices = {int(match[1]): tensors[name] for name, match in found.items() if match}
        width = next(iter(matrices.values()))().shape[-1] if matrices else 0
    else:
        saved = _saved(file)
        of_layers = saved.get("J") if isinstance(saved, dict) else None
        if not isinstance(of_layers, dict) or not isinstance(saved.get("d_model"), int):
            raise InvalidRequestError(f"lens: {file.name} has no J by layer, and d_model")
        matrices = {_layer(key): _reading(key, value) for key, value in of_layers.items()}
        width = saved["d_model"]
    if not matrices:
        raise InvalidRequestError(f"lens: {file.name} has no layers")
    return Lens("jacobian", matrices, {}, False, width)


def _layer(key: Any) -> int:
    if not isinstance(key, int) or key < 0:
        raise InvalidRequestError(f"lens: {key!r} is no layer")
    return key


def _reading(name: Any, value: Any) -> Read:
    if not isinstance(value, StoredTensor):
        raise InvalidRequestError(f"lens: {name!r} is no tensor")
    return value.array


def _saved(file: Path) -> Any:
    if not file.is_file():
        raise InvalidRequestError(f"lens: there is no file {file.name}")
    return read_torch_file(file)


def _tensors(file: Path) -> dict[str, Read]:
    """The tensors of a file by name, each read when it is called."""
    if file.suffix != ".safetensors":
        saved = _saved(file)
        if not isinstance(saved, dict):
            raise InvalidRequestError(f"lens: {file.name} contains no dictionary of tensors")
        return {str(name): _reading(name, value) for name, value in saved.items()}
    try:
        with safe_open(file, "numpy") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise InvalidRequestError(f"lens: {file.name} cannot be read: {error}") from None

    def read(name: str) -> np.ndarray:
        arrays = cast(dict[str, mx.array], mx.load(str(file)))
        return np.array(arrays[name].astype(mx.float32))

    return {name: partial(read, name) for name in names}
