"""Models as LM Studio lists them: those that are loaded, and those that may be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import compute_bits_per_weight, get_total_parameters

from engine.components import ComponentType
from engine.runs.sampling import Sampling
from engine.server.errors import ImpossibleError
from engine.server.service import Service
from engine.server.state.library import Stored, library
from engine.server.state.models import LoadedModel

UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def not_loaded(service: Service) -> Iterator[Stored]:
    """The models that clients may load and that are not loaded."""
    paths = (model.kit.path for model in service.models.all())
    loaded = {path.resolve() for path in paths if path is not None}
    for stored in library(service.settings):
        if stored.folder.resolve() not in loaded:
            yield stored


def context_length(service: Service, model: LoadedModel) -> int:
    """Positions that a conversation may have."""
    return model.context_length or service.settings.context_tokens


def load_config(service: Service, model: LoadedModel) -> dict[str, int]:
    """How a model is loaded."""
    step = model.request.prefill_step_size or Sampling().prefill_step_size
    return {"context_length": context_length(service, model), "eval_batch_size": step}


def chosen_experts(model: LoadedModel) -> int | None:
    """How many experts the model chooses for each token; None of a model without experts."""
    shapes = model.kit.structure.shapes.items()
    chosen = (shape for point, shape in shapes if point.component is ComponentType.ROUTER_CHOICE)
    return next((shape[-1] for shape in chosen), None)


def check_context(wanted: int | None, most: int) -> None:
    """Raise ImpossibleError for a `context_length` that is more than the model's."""
    if wanted is not None and wanted > most:
        raise ImpossibleError(
            f"context_length: {wanted} is more than the model's {most}.", "context_length"
        )


def entry_v0(service: Service, model: LoadedModel) -> dict[str, Any]:
    """A loaded model in version 0."""
    return {
        "id": model.id,
        "object": "model",
        "type": "llm",
        "publisher": _publisher(model.id) or _publisher(model.request.model_path),
        "arch": model.kit.info.architecture or "",
        "compatibility_type": "mlx",
        "quantization": quantization(model),
        "state": "loaded",
        "max_context_length": _most_context(service, model),
    }


def stored_v0(stored: Stored) -> dict[str, Any]:
    """A model in version 0 that is not loaded: what its folder's name says, and no more."""
    return {
        "id": stored.key,
        "object": "model",
        "type": "llm",
        "publisher": _publisher(stored.key),
        "compatibility_type": "mlx",
        "state": "not-loaded",
    }


def entry_v1(service: Service, model: LoadedModel) -> dict[str, Any]:
    """A loaded model in version 1."""
    return {
        "type": "llm",
        "publisher": _publisher(model.id) or _publisher(model.request.model_path),
        "key": model.id,
        "display_name": model.id,
        "architecture": model.kit.info.architecture,
        "quantization": {
            "name": quantization(model),
            "bits_per_weight": compute_bits_per_weight(model.kit.model),
        },
        "size_bytes": sum(array.nbytes for array in _arrays(model)),
        "params_string": _short(get_total_parameters(model.kit.model)),
        "loaded_instances": [{"id": model.id, "config": load_config(service, model)}],
        "max_context_length": _most_context(service, model),
        "format": "mlx",
        "capabilities": {
            "vision": False,
            "trained_for_tool_use": bool(getattr(model.kit.tokenizer, "has_tool_calling", False)),
        },
        "description": None,
    }


def stored_v1(stored: Stored) -> dict[str, Any]:
    """A model in version 1 that is not loaded."""
    size = sum(file.stat().st_size for file in stored.folder.glob("*.safetensors"))
    return {
        "type": "llm",
        "publisher": _publisher(stored.key),
        "key": stored.key,
        "display_name": stored.key.rpartition("/")[2],
        "size_bytes": size,
        "loaded_instances": [],
        "format": "mlx",
    }


def quantization(model: LoadedModel) -> str:
    """Such as `4bit`; of weights that are not quantised their type, such as `BF16`."""
    said = model.kit.info.quantization
    if said:
        return said.partition("-bit")[0] + "bit"
    types = [array.dtype for array in _arrays(model) if array.dtype in TYPES]
    return TYPES[max(types, key=types.count)] if types else ""


def _most_context(service: Service, model: LoadedModel) -> int:
    """Positions that it could have been loaded with."""
    return model.kit.info.context_length or service.settings.context_tokens


def _publisher(path: str) -> str:
    """The folder that a model's folder lies in, as in `publisher/model`; a pulled one has none."""
    return Path(path).parent.name


TYPES = {mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16"}


def _arrays(model: LoadedModel) -> list[mx.array]:
    found: list[tuple[str, mx.array]] = tree_flatten(model.kit.model.parameters())  # type: ignore[assignment]
    return [array for _, array in found]


def _short(count: int) -> str:
    for size, letter in UNITS:
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)
