"""Adapters as mlx-lm trains them: LoRA, DoRA, or whole weights, under mlx-lm's own names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten
from mlx_lm.tuner.dora import DoRAEmbedding, DoRALinear
from mlx_lm.tuner.lora import LoRAEmbedding, LoRALinear, LoRASwitchLinear
from mlx_lm.tuner.utils import load_adapters

from engine.errors import UnsupportedModelError
from engine.models.adapters import Adapter, tensor_names
from engine.models.dequantise import PLAIN, float_dtype, plain_layer
from engine.turns import give_way

FILE = "adapters.safetensors"
KINDS = ("lora", "dora", "full")
BASES: dict[type, str] = {
    LoRALinear: "linear",
    LoRASwitchLinear: "linear",
    DoRALinear: "linear",
    LoRAEmbedding: "embedding",
    DoRAEmbedding: "embedding",
}
"""The adapted layers, and under which name each has the layer that it adapts."""
LEAVES = {"lora": ("lora_a", "lora_b"), "dora": ("lora_a", "lora_b", "m")}


@dataclass(frozen=True)
class MlxAdapter(Adapter):
    """An adapter of mlx-lm's `lora` command."""

    folder: Path
    tensors: frozenset[str]

    @property
    def format(self) -> Literal["mlx-lm", "peft"]:
        return "mlx-lm"

    @classmethod
    def read(cls, folder: Path, config: dict[str, Any]) -> "MlxAdapter":
        kind = config.get("fine_tune_type", "lora")
        if kind not in KINDS:
            raise UnsupportedModelError(
                f"{folder}: fine_tune_type is {kind!r}, not one of {', '.join(KINDS)}"
            )
        names = tensor_names(folder, FILE)
        modules = tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))
        rank = scale = None
        if kind != "full":
            parameters = config["lora_parameters"]
            rank, scale = int(parameters["rank"]), float(parameters["scale"])
        return cls(folder.name, kind, modules, rank, scale, folder, frozenset(names))

    def merge(self, model: nn.Module, rounded: bool) -> None:
        """Raises UnsupportedModelError if the adapter was trained on another model."""
        dtype = float_dtype(model) if rounded else mx.float32
        try:
            load_adapters(model, str(self.folder))
        except (ValueError, KeyError) as reason:
            raise UnsupportedModelError(
                f"the adapter {self.name} does not fit the model: {reason}"
            ) from reason
        if self.kind == "full":
            return
        layers = [(name, layer) for name, layer in model.named_modules() if type(layer) in BASES]
        for name, _ in layers:
            for leaf in LEAVES[self.kind]:
                if f"{name}.{leaf}" not in self.tensors:
                    raise UnsupportedModelError(
                        f"the adapter {self.name} is not whole: {name}.{leaf} is missing"
                    )
        plain = [(name, _merged(layer, dtype, rounded)) for name, layer in layers]
        model.update_modules(tree_unflatten(plain))


def _merged(layer: Any, dtype: mx.Dtype, rounded: bool) -> nn.Module:
    """The plain layer that computes what an adapted one does; `dtype` is of packed weights."""
    base = layer[BASES[type(layer)]]
    if type(base) in PLAIN:
        base = plain_layer(base)
    elif rounded:
        dtype = base.weight.dtype
    weight = base.weight.astype(mx.float32)
    a, b = layer.lora_a.astype(mx.float32), layer.lora_b.astype(mx.float32)
    match layer:
        case LoRASwitchLinear():
            change = b @ a
        case LoRAEmbedding() | DoRAEmbedding():
            change = a @ b
        case _:
            change = (a @ b).T
    weight = weight + layer.scale * change
    if isinstance(layer, (DoRALinear, DoRAEmbedding)):
        weight = (layer.m / mx.linalg.norm(weight, axis=1))[:, None] * weight
    base.weight = weight.astype(dtype)
    mx.eval(base.parameters())
    give_way()
    return base
