"""Adapters as the library PEFT saves them: LoRA and DoRA, under the names of transformers.

They are merged into the weights as they are stored, under the names that transformers gives them,
before mlx-lm renames, transposes or joins anything. LoRA: Hu et al. 2021, arXiv:2106.09685; DoRA:
Liu et al. 2024, arXiv:2402.09353; rank-stabilised: Kalajdzievski 2023, arXiv:2312.03732.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import mlx.core as mx

from engine.errors import UnsupportedModelError
from engine.models.adapters import Adapter, tensor_names
from engine.models.weight_files import Weights

FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
FACTOR = re.compile(r"(?P<module>.+)\.(?P<leaf>lora_A|lora_B|lora_magnitude_vector)(\.weight)?")
EMBEDDING = re.compile(r"(?P<module>.+)\.(?P<leaf>lora_embedding_[AB])")
WHOLE = re.compile(r"(?P<module>.+?)(\.base_layer)?\.(?P<leaf>weight|bias)")
ENDS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "lm_head.weight")
"""What the weights at a model's two ends are called, which may be one."""
INITIALISED = (True, False, None, "gaussian", "orthogonal")
"""Ways to begin that leave the model's own weights as they are."""
UNREAD = ("layer_replication", "trainable_token_indices", "target_parameters", "use_qalora")
"""Options that change what an adapter computes."""


@dataclass(frozen=True)
class PeftAdapter(Adapter):
    """An adapter of PEFT's; `factors` are the tensors of each module, `whole` those that replace a
    tensor of the model."""

    factors: dict[str, dict[str, mx.array]]
    whole: dict[str, mx.array]
    config: dict[str, Any]

    @property
    def format(self) -> Literal["mlx-lm", "peft"]:
        return "peft"

    @classmethod
    def read(cls, folder: Path, config: dict[str, Any]) -> "PeftAdapter":
        _check(folder, config)
        tensor_names(folder, FILE)
        factors: dict[str, dict[str, mx.array]] = {}
        whole: dict[str, mx.array] = {}
        for name, tensor in cast(Weights, mx.load(str(folder / FILE))).items():
            found = name.removeprefix(PREFIX)
            if factor := FACTOR.fullmatch(found) or EMBEDDING.fullmatch(found):
                factors.setdefault(factor["module"], {})[factor["leaf"]] = tensor
            elif "lora_" not in found and (one := WHOLE.fullmatch(found)):
                whole[f"{one['module']}.{one['leaf']}"] = tensor
            else:
                raise UnsupportedModelError(f"{folder}: no meaning is known of the tensor {name}")
        for module, parts in factors.items():
            _check_factors(module, parts, bool(config.get("use_dora")))
        scales = {_scale(config, name, _rank(parts)) for name, parts in factors.items()}
        ranks = {_rank(parts) for parts in factors.values()}
        return cls(
            name=folder.name,
            kind="dora" if config.get("use_dora") else "lora",
            modules=tuple(sorted({*factors, *(name.rpartition(".")[0] for name in whole)})),
            rank=ranks.pop() if len(ranks) == 1 else None,
            scale=scales.pop() if len(scales) == 1 else None,
            factors=factors,
            whole=whole,
            config=config,
        )

    def prepare(self, weights: Weights, config: dict[str, Any], rounded: bool) -> Weights:
        """Raises UnsupportedModelError if the adapter was trained on another model."""
        weights = dict(weights)
        for module, parts in self.factors.items():
            stored = self._stored(f"{module}.weight", weights, config)
            weight, dtype = _dense(stored, parts, weights, config)
            merged = self._merged(module, parts, weight)
            mx.eval(merged)
            weights[stored] = merged.astype(dtype) if rounded else merged
        for name, tensor in self.whole.items():
            stored = self._stored(name, weights, config)
            there = weights[stored]
            if there.shape != tensor.shape or not mx.issubdtype(there.dtype, mx.floating):
                raise UnsupportedModelError(
                    f"the adapter {self.name} replaces {name}, of shape {list(tensor.shape)}; "
                    f"the model's has {list(there.shape)} and the type {there.dtype}"
                )
            weights[stored] = tensor.astype(there.dtype)
        return weights

    def _stored(self, name: str, weights: Weights, config: dict[str, Any]) -> str:
        """The name under which the model's weights contain a tensor."""
        is_head_there = any(each.endswith("lm_head.weight") for each in weights)
        if name.endswith(ENDS) and (config.get("tie_word_embeddings") or not is_head_there):
            raise UnsupportedModelError(
                f"the adapter {self.name} changes {name}; this model has one weight for its "
                "embedding and its logits, of which PEFT changes only one use"
            )
        short = name.partition(".")[2]  # as of GPT-2, stored without the name of its base model
        for each in (name, short):
            if each in weights:
                return each
        raise UnsupportedModelError(
            f"the adapter {self.name} does not fit the model, whose weights contain no {name}"
        )

    def _merged(self, module: str, parts: dict[str, mx.array], weight: mx.array) -> mx.array:
        """The weight in float32 with the adapter in it, as it is stored."""
        scale = _scale(self.config, module, _rank(parts))
        parts = {leaf: part.astype(mx.float32) for leaf, part in parts.items()}
        if "lora_embedding_A" in parts:
            change = (parts["lora_embedding_B"] @ parts["lora_embedding_A"]).T
            is_transposed = False
        else:
            change = parts["lora_B"] @ parts["lora_A"]
            is_transposed = bool(self.config.get("fan_in_fan_out"))
            if change.shape[0] != change.shape[1]:
                is_transposed = weight.shape == change.shape[::-1]
        weight = weight.T if is_transposed else weight
        if weight.shape != change.shape:
            raise UnsupportedModelError(
                f"the adapter {self.name} does not fit the model: it changes {module} by "
                f"{list(change.shape)}, which has {list(weight.shape)}"
            )
        weight = weight + scale * change
        if "lora_magnitude_vector" in parts:
            length = mx.linalg.norm(weight, axis=1, keepdims=True)
            weight = parts["lora_magnitude_vector"].reshape(-1, 1) / length * weight
        return weight.T if is_transposed else weight


def _check(folder: Path, config: dict[str, Any]) -> None:
    """Raise UnsupportedModelError for what would not be merged as PEFT runs it."""
    if config["peft_type"] != "LORA":
        raise UnsupportedModelError(f"{folder}: peft_type is {config['peft_type']}, not LORA")
    if config.get("init_lora_weights") not in INITIALISED:
        raise UnsupportedModelError(
            f"{folder}: init_lora_weights is {config['init_lora_weights']}, which changes the "
            "model's own weights"
        )
    for name in UNREAD:
        if config.get(name):
            raise UnsupportedModelError(f"{folder}: {name} is not read")


def _check_factors(module: str, parts: dict[str, mx.array], is_dora: bool) -> None:
    kind = "lora_embedding_" if any("embedding" in leaf for leaf in parts) else "lora_"
    wanted = {f"{kind}A", f"{kind}B"} | ({"lora_magnitude_vector"} if is_dora else set())
    if parts.keys() != wanted:
        raise UnsupportedModelError(
            f"{module} has {', '.join(sorted(parts))} in place of {', '.join(sorted(wanted))}"
        )
    a, b = parts[f"{kind}A"], parts[f"{kind}B"]
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise UnsupportedModelError(
            f"{module} has factors of {list(a.shape)} and {list(b.shape)}, not of a linear layer"
        )
    if is_dora and "lora_embedding_A" in parts:
        raise UnsupportedModelError(f"{module} is an embedding with DoRA, which is not read")


def _rank(parts: dict[str, mx.array]) -> int:
    return parts["lora_A" if "lora_A" in parts else "lora_embedding_A"].shape[0]


def _scale(config: dict[str, Any], module: str, rank: int) -> float:
    """By what a module's product of factors is multiplied."""
    alpha = next(
        (
            each
            for pattern, each in (config.get("alpha_pattern") or {}).items()
            if re.fullmatch(rf"(.*\.)?({pattern})", module)
        ),
        config["lora_alpha"],
    )
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _dense(
    stored: str, parts: dict[str, mx.array], weights: Weights, config: dict[str, Any]
) -> tuple[mx.array, mx.Dtype]:
    """A stored weight in float32, and the type to store it in; what packed it is removed."""
    weight = weights[stored]
    module = stored.removesuffix(".weight")
    if (scales := weights.pop(f"{module}.scales", None)) is None:
        if not mx.issubdtype(weight.dtype, mx.floating):
            raise UnsupportedModelError(f"{stored} is packed as {weight.dtype} in no known way")
        return weight.astype(mx.float32), weight.dtype
    inputs = parts["lora_A"].shape[1] if "lora_A" in parts else parts["lora_embedding_B"].shape[0]
    bits, group_size = weight.shape[-1] * 32 // inputs, inputs // scales.shape[-1]
    is_affine = scales.dtype != mx.uint8
    modes = {(4, 16): "nvfp4", (4, 32): "mxfp4", (8, 32): "mxfp8"}
    mode = "affine" if is_affine else modes[bits, group_size]
    biases = weights.pop(f"{module}.biases", None)
    dense = mx.dequantize(
        weight,
        scales.astype(mx.float32) if is_affine else scales,
        None if biases is None else biases.astype(mx.float32),
        group_size=group_size,
        bits=bits,
        mode=mode,
        global_scale=weights.pop(f"{module}.global_scale", None),
        dtype=mx.float32,
    )
    config.get("quantization", {}).pop(module, None)
    return dense, scales.dtype if is_affine else mx.bfloat16
