"""From a model's name, folder or hub id to the model in memory."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
import mlx.nn as nn
from huggingface_hub import snapshot_download
from mlx.utils import tree_map_with_path
from mlx_lm.tokenizer_utils import TokenizerWrapper
from mlx_lm.utils import load_model, load_tokenizer

from engine.errors import (
    EngineError,
    InvalidRequestError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from engine.models.corrections import Correction, load_corrected
from engine.models.dequantise import dequantise, dequantise_wrong_on_cuda
from engine.models.smollm2 import NAME, smollm2_folder

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HUB_FILES = ["*.json", "model*.safetensors", "tokenizer.model", "*.tiktoken", "*.txt", "*.jinja"]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


class Loaded(NamedTuple):
    """A model in memory, the `folder` that it comes from, and what was corrected."""

    model: nn.Module
    tokenizer: TokenizerWrapper
    config: dict[str, Any]
    folder: Path
    corrections: tuple[Correction, ...]


def load(path_or_id: str | Path, *, dtype: str | None = None, corrections: bool = True) -> Loaded:
    """Load a model, its tokenizer and configuration.

    `path_or_id` is `smollm2`, an mlx-lm folder, or a Hugging Face hub id. `dtype` is float32,
    float16 or bfloat16, to which quantised weights are widened too; by default weights stay as
    they are stored, except that a CPU gets quantised ones as float32, where they are faster.
    What mlx-lm reads otherwise than the author wrote it is corrected if `corrections` are wanted.
    The configuration describes the model as it is in memory. Code from a model folder never runs.

    Raises ModelNotFoundError, UnsupportedModelError, InvalidRequestError (dtype).
    """
    if dtype is not None and dtype not in DTYPES:
        raise InvalidRequestError(f"dtype is {dtype!r}, not one of {', '.join(DTYPES)}")
    try:
        folder = locate(path_or_id)
        applied: tuple[Correction, ...] = ()
        if corrections:
            model, config, applied = load_corrected(folder)
        else:
            model, config = load_model(folder, lazy=True)
        eos = config.get("eos_token_id")
        tokenizer = load_tokenizer(folder, {"trust_remote_code": False}, eos_token_ids=eos)
        if dtype is None and _on_cpu() and _quantised(config):
            dtype = "float32"
        if mx.cuda.is_available():
            dequantise_wrong_on_cuda(model)
        if dtype is not None:
            _cast(model, config, DTYPES[dtype])
        mx.eval(model.parameters())
    except EngineError:
        raise
    except Exception as reason:
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
        folder = _from_hub(path_or_id)
    else:
        raise ModelNotFoundError(
            f"no model {str(path_or_id)!r}: neither {NAME!r}, nor a folder, nor a hub id"
        )
    if missing := next(_missing(folder), None):
        raise ModelNotFoundError(f"{folder} is not a whole model: {missing} is missing")
    return folder


def _from_hub(model_id: str) -> Path:
    try:
        return Path(snapshot_download(model_id, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as reason:
        raise ModelNotFoundError(
            f"no folder {model_id!r} here, and the hub does not have it: {reason}"
        ) from reason


def _missing(folder: Path) -> Iterator[str]:
    """What a folder lacks to be a model."""
    if not (folder / "config.json").is_file():
        yield "config.json"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        yield from sorted(shard for shard in set(shards) if not (folder / shard).is_file())
    elif not any(folder.glob("model*.safetensors")):
        yield "model.safetensors"
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        yield " or ".join(TOKENIZER_FILES)


def _on_cpu() -> bool:
    return mx.default_device().type == mx.DeviceType.cpu


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
