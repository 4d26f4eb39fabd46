"""From a model's name, folder or hub id to the model in memory."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import mlx.core as mx
import mlx.nn as nn
from huggingface_hub import snapshot_download
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.tokenizer_utils import TokenizerWrapper
from mlx_lm.utils import load_config, load_tokenizer

from engine.errors import (
    PROCESS_EXITS,
    EngineError,
    InvalidRequestError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from engine.machine.device import on_cpu
from engine.models import adapter_folders, template_process
from engine.models.adapter_folders import open_adapter
from engine.models.adapters import Adapter
from engine.models.corrections import Correction, load_corrected
from engine.models.dequantise import dequantise, dequantise_wrong_on_cuda
from engine.models.smollm2 import NAME, smollm2_folder
from engine.models.weight_files import (
    Weights,
    check_regular,
    read_model,
    require_file,
    weight_files,
)
from engine.turns import elsewhere, give_way

Flat = list[tuple[str, mx.array]]
Progress = Callable[[int, int], None]
DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HUB_FILES = ["*.json", "model*.safetensors", "tokenizer.model", "*.tiktoken", "*.txt", "*.jinja"]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")

template_process.install()


class Loaded(NamedTuple):
    """A model in memory, the `folder` that it comes from, and what was corrected."""

    model: nn.Module
    tokenizer: TokenizerWrapper
    config: dict[str, Any]
    folder: Path
    corrections: tuple[Correction, ...]


def load(
    path_or_id: str | Path,
    *,
    dtype: str | None = None,
    corrections: bool = True,
    adapter: Adapter | None = None,
    split: Callable[[nn.Module], None] = lambda model: None,
    progress: Progress = lambda done, total: None,
) -> Loaded:
    """Load a model, its tokenizer and configuration.

    `path_or_id` is `smollm2`, an mlx-lm folder, or a Hugging Face hub id. `dtype` is float32,
    float16 or bfloat16, to which quantised weights are widened too; by default weights stay as
    they are stored, except that a CPU gets quantised ones as float32, where they are faster.
    What mlx-lm reads otherwise than the author wrote it is corrected if `corrections` are wanted.
    An `adapter` is merged into the weights. `split` may drop parts of the model before their
    weights are read.
    `progress` is called with how many of how many weights have been read.
    The configuration describes the model as it is in memory. Code from a model folder never runs.

    Raises ModelNotFoundError, UnsupportedModelError, InvalidRequestError (dtype).
    """
    if dtype is not None and dtype not in DTYPES:
        raise InvalidRequestError(f"dtype is {dtype!r}, not one of {', '.join(DTYPES)}")
    try:
        folder = locate(path_or_id)
        is_cast = dtype is not None or (on_cpu() and _quantised(load_config(folder)))

        def prepare(weights: Weights, config: dict[str, Any]) -> Weights:
            return adapter.prepare(weights, config, not is_cast) if adapter else weights

        applied: tuple[Correction, ...] = ()
        if corrections:
            model, config, applied = load_corrected(folder, prepare)
        else:
            model, config = read_model(folder, prepare=prepare)
        if adapter:
            adapter.merge(model, not is_cast)
        eos = config.get("eos_token_id")
        tokenizer = elsewhere(
            lambda: load_tokenizer(folder, {"trust_remote_code": False}, eos_token_ids=eos)
        )
        if dtype is None and on_cpu() and _quantised(config):
            dtype = "float32"
        if mx.cuda.is_available():
            dequantise_wrong_on_cuda(model)
        if dtype is not None:
            _cast(model, config, DTYPES[dtype])
        split(model)
        _read(model, progress)
    except (EngineError, *PROCESS_EXITS):
        raise
    except BaseException as reason:  # a panic in Rust is no Exception
        raise UnsupportedModelError(
            f"{path_or_id} cannot be loaded: {type(reason).__name__}: {reason}"
        ) from reason
    return Loaded(model, tokenizer, config, folder, applied)


def locate(path_or_id: str | Path) -> Path:
    """The complete mlx-lm folder that is meant; a hub id is fetched if it is not there yet.

    Raises ModelNotFoundError that names what is missing.
    """
    if path_or_id == NAME:
        folder = smollm2_folder()
        if not folder.is_dir():
            raise ModelNotFoundError(
                f"{NAME} is not here yet: run 'neuroscope-bridge models pull {NAME}'"
            )
    elif Path(path_or_id).is_dir():
        folder = Path(path_or_id).resolve()
    elif isinstance(path_or_id, str) and HUB_ID.fullmatch(path_or_id):
        folder = from_hub(path_or_id)
    else:
        raise ModelNotFoundError(
            f"no model {str(path_or_id)!r}: neither {NAME!r}, nor a folder, nor a hub id"
        )
    _check_whole(folder)
    return folder


def locate_adapter(path_or_id: str | Path) -> Adapter:
    """The adapter in a folder, or of a hub id, which is fetched if it is not there yet.

    Raises ModelNotFoundError that names what is missing, UnsupportedModelError.
    """
    if Path(path_or_id).is_dir():
        return open_adapter(Path(path_or_id).resolve())
    if isinstance(path_or_id, str) and HUB_ID.fullmatch(path_or_id):
        return open_adapter(from_hub(path_or_id, adapter_folders.HUB_FILES))
    raise ModelNotFoundError(f"no adapter {str(path_or_id)!r}: neither a folder, nor a hub id")


def from_hub(model_id: str, files: Sequence[str] = HUB_FILES) -> Path:
    """The folder of a hub id, fetched if it is not there yet. Raises ModelNotFoundError."""
    try:
        return Path(snapshot_download(model_id, allow_patterns=list(files)))
    except (OSError, ValueError) as reason:
        raise ModelNotFoundError(
            f"no folder {model_id!r} here, and the hub does not have it: {reason}"
        ) from reason


def _check_whole(folder: Path) -> None:
    """Raise ModelNotFoundError, naming what a folder lacks to be a model, and
    UnsupportedModelError for what is in it and is no file."""
    check_regular(folder)
    if (folder / adapter_folders.CONFIG).is_file() and not (folder / "config.json").is_file():
        raise ModelNotFoundError(
            f"{folder} is an adapter, not a model: load the model that it was trained on, and "
            "name this folder as its adapter"
        )
    require_file(folder, "config.json")
    weight_files(folder)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        require_file(folder, " or ".join(TOKENIZER_FILES))


def _read(model: nn.Module, progress: Progress) -> None:
    """Read the weights from their files, one after another, and calculate what is made of them."""
    weights = [each for _, each in cast(Flat, tree_flatten(model.parameters()))]
    for done, weight in enumerate(weights):
        progress(done, len(weights))
        give_way()
        mx.eval(weight)


def _quantised(config: dict[str, Any]) -> bool:
    return "quantization" in config or "quantization_config" in config


def _cast(model: nn.Module, config: dict[str, Any], dtype: mx.Dtype) -> None:
    """Every weight to `dtype`, quantised ones too, save those that the architecture keeps."""
    dequantise(model)
    config.pop("quantization", None)
    config.pop("quantization_config", None)
    may_be_cast = getattr(model, "cast_predicate", lambda name: True)

    def cast(name: str, array: mx.array) -> mx.array:
        wanted = may_be_cast(name) and mx.issubdtype(array.dtype, mx.floating)
        return array.astype(dtype) if wanted else array

    model.update(tree_map_with_path(cast, model.parameters()))
