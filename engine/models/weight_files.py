"""Which files of a model folder contain its weights, checked before anything reads them.

mlx-lm reads whatever is called `model*.safetensors`, in the order of the folder. Here the index
decides, or without an index the one file, or the complete set of shards, that the format means.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.utils import _get_classes, load_model
from safetensors import safe_open

from engine.errors import ModelNotFoundError, UnsupportedModelError

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
SHARD = re.compile(r"model-(\d+)-of-(\d+)\.safetensors")
CONFIGURATION = ("config.json", "generation_config.json", "hf_quant_config.json")
"""What mlx-lm reads of a folder beside the weights."""
LAYER_COUNT = re.compile(r"(num|n)_(\w+_)?layers?")
"""The fields of a configuration that say how many layers are built."""

Weights = dict[str, mx.array]
Classes = tuple[type[nn.Module], type]


@dataclass(frozen=True)
class WeightFiles:
    """The files to read; `places` is the file of each tensor that the index names, if there is
    an index."""

    files: tuple[Path, ...]
    places: Mapping[str, str] = field(default_factory=dict)


def weight_files(folder: Path) -> WeightFiles:
    """The files that contain a folder's weights.

    Raises ModelNotFoundError that names what is missing, UnsupportedModelError for an index that
    names files elsewhere.
    """
    index = folder / INDEX
    if not index.is_file():
        return WeightFiles(tuple(folder / name for name in _names_without_index(folder)))
    places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    for name in sorted(set(places.values())):
        if not isinstance(name, str) or Path(name).name != name:
            raise UnsupportedModelError(f"{INDEX} names a file outside the folder: {name!r}")
        require_file(folder, name)
    if not places:
        raise UnsupportedModelError(f"{INDEX} names no weights")
    return WeightFiles(tuple(folder / name for name in sorted(set(places.values()))), places)


def _names_without_index(folder: Path) -> list[str]:
    if (folder / WHOLE).is_file():
        return [WHOLE]
    shards = [match for path in folder.iterdir() if (match := SHARD.fullmatch(path.name))]
    if not shards:
        require_file(folder, WHOLE)
    counts = sorted({match[2] for match in shards})
    if len(counts) > 1:
        raise UnsupportedModelError(
            f"{folder} has no {INDEX}, and shards of several sets: of {', '.join(counts)}"
        )
    width, count = len(shards[0][1]), counts[0]
    names = [f"model-{n:0{width}}-of-{count}.safetensors" for n in range(1, int(count) + 1)]
    for name in names:
        require_file(folder, name)
    return names


def require_file(folder: Path, name: str) -> None:
    """Raise ModelNotFoundError unless the folder contains a file of this name."""
    if not (folder / name).is_file():
        raise ModelNotFoundError(f"{folder} is not a whole model: {name} is missing")


def check_regular(folder: Path) -> None:
    """Raise UnsupportedModelError if something in a folder is neither a file nor a folder.

    To read a pipe, a socket or a device may take for ever.
    """
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UnsupportedModelError(f"{path.relative_to(folder)} is not a regular file")


def as_stored(weights: Weights, config: dict[str, Any]) -> Weights:
    """The weights, unchanged."""
    return weights


def read_model(
    folder: Path,
    config: dict[str, Any] | None = None,
    get_classes: Callable[[dict[str, Any]], Classes] = _get_classes,
    prepare: Callable[[Weights, dict[str, Any]], Weights] = as_stored,
) -> tuple[nn.Module, dict[str, Any]]:
    """A folder's model, weights not read yet, and its configuration, which `config` overrides.

    `prepare` is called with the weights as they are stored and the configuration, before
    mlx-lm gives the weights its own names. Raises UnsupportedModelError for more layers than
    there are tensors, before one is built.
    """
    stored = weight_files(folder)
    kinds: list[type[nn.Module]] = []

    def classes(config: dict[str, Any]) -> Classes:
        kind, arguments = get_classes(config)
        names = _tensor_names(stored.files)
        _check_layers(config, sum(map(len, names.values())))
        kinds.append(kind)
        misplaced = _misplaced(names, stored.places)

        def prepared(weights: Weights) -> Weights:
            for file, found in misplaced.items():
                right = cast(Weights, mx.load(str(file)))
                weights |= {name: right[name] for name in found}
            return prepare(weights, config)

        return _preparing(kind, prepared), arguments

    with _view(folder, stored.files) as view:
        model, config = load_model(view, lazy=True, model_config=config, get_model_classes=classes)
    model.__class__ = kinds[0]
    return model, config


@contextmanager
def _view(folder: Path, files: tuple[Path, ...]) -> Iterator[Path]:
    """A folder of links in which mlx-lm finds these weights and no others."""
    with TemporaryDirectory(prefix="model-") as name:
        view = Path(name)
        for number, file in enumerate(files):
            (view / f"model-{number}.safetensors").symlink_to(file.resolve())
        for each in CONFIGURATION:
            if (folder / each).is_file():
                (view / each).symlink_to((folder / each).resolve())
        yield view


def _preparing(kind: type[nn.Module], prepare: Callable[[Weights], Weights]) -> type[nn.Module]:
    """The class of a model that calls `prepare` before it sanitises its weights."""

    def sanitize(self: nn.Module, weights: Weights) -> Weights:
        weights = prepare(weights)
        return kind.sanitize(self, weights) if hasattr(kind, "sanitize") else weights

    return type(kind.__name__, (kind,), {"sanitize": sanitize, "__module__": kind.__module__})


def _tensor_names(files: tuple[Path, ...]) -> dict[Path, set[str]]:
    names = {}
    for file in files:
        with safe_open(file, "numpy") as tensors:
            names[file] = set(tensors.keys())
    return names


def _misplaced(names: dict[Path, set[str]], places: Mapping[str, str]) -> dict[Path, list[str]]:
    """The tensors that several files contain, under the file of each that the index names.

    Raises UnsupportedModelError for a tensor that is not where the index says.
    """
    found: dict[Path, list[str]] = {}
    by_name = {file.name: file for file in names}
    for tensor, place in places.items():
        if tensor not in names[by_name[place]]:
            raise UnsupportedModelError(f"{place} contains no {tensor}, as {INDEX} says")
        if sum(tensor in each for each in names.values()) > 1:
            found.setdefault(by_name[place], []).append(tensor)
    return found


def _check_layers(config: dict[str, Any], tensors: int) -> None:
    """Raise UnsupportedModelError if a layer would be left without a single tensor."""
    for name, value in config.items():
        if LAYER_COUNT.fullmatch(name) and isinstance(value, int) and value > tensors:
            raise UnsupportedModelError(
                f"{name} is {value}, and the weights are only {tensors} tensors"
            )
    if isinstance(text := config.get("text_config"), dict):
        _check_layers(text, tensors)
