# ruff: noqa: I001
"""gpt-oss-20b's shape, and a model of it with random quantised weights."""

import json
from collections.abc import Callable
from pathlib import Path

import engine  # noqa: F401 -- before mlx.core, to put its BLAS in place
import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map
from mlx_lm.models import gpt_oss
from transformers import PreTrainedTokenizerFast

FULL = {
    "model_type": "gpt_oss",
    "num_hidden_layers": 24,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 201088,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "rope_theta": 150000.0,
    "rope_scaling": {
        "rope_type": "yarn",
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
    },
    "quantization": {"bits": 4, "group_size": 32},
}
TINY = FULL | {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_local_experts": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
}
ROUTER = {"bits": 8, "group_size": 64}


def random_model(config: dict) -> nn.Module:
    """A model with random quantised weights, of which no float form is ever calculated."""
    model = gpt_oss.Model(gpt_oss.ModelArgs.from_dict(config))
    how = config["quantization"]
    nn.quantize(model, how["group_size"], how["bits"], class_predicate=quantised(model))
    mx.random.seed(0)
    for part in parts(model).values():
        part.update(tree_map(random_like, part.parameters()))
        mx.eval(part.parameters())
    model.eval()
    return model


def parts(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model that are built, and saved, one at a time."""
    layers = {f"model.layers.{n}": layer for n, layer in enumerate(model.model.layers)}
    ends = {"model.embed_tokens": model.model.embed_tokens, "model.norm": model.model.norm}
    return layers | ends | {"lm_head": model.lm_head}


def save(model: nn.Module, config: dict, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write an mlx-lm folder, one file a part."""
    folder.mkdir()
    index: dict[str, str] = {}
    for number, (name, part) in enumerate(parts(model).items()):
        file = f"model-{number:05}.safetensors"
        weights = {f"{name}.{n}": w for n, w in tree_flatten(part.parameters())}
        mx.save_safetensors(str(folder / file), weights)
        index |= dict.fromkeys(weights, file)
    routers = {f"{name}.mlp.router": ROUTER for name in parts(model) if "layers" in name}
    config = config | {"quantization": config["quantization"] | routers}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    tokenizer.save_pretrained(folder)


def quantised(model: nn.Module) -> Callable[[str, nn.Module], bool | dict]:
    """What mlx-lm quantises, and how: routers in 8 bits."""
    return lambda path, module: (
        hasattr(module, "to_quantized") and model.quant_predicate(path, module)
    )


def random_like(parameter: mx.array) -> mx.array:
    """Bits at random, and scales and biases for which dequantised weights are about ±0.03."""
    if parameter.dtype == mx.uint32:
        return mx.random.randint(-(1 << 31), (1 << 31) - 1, parameter.shape).view(mx.uint32)
    return (0.004 * mx.random.normal(parameter.shape)).astype(mx.bfloat16)


def weight_bytes(model: nn.Module) -> int:
    return sum(parameter.nbytes for _, parameter in tree_flatten(model.parameters()))
