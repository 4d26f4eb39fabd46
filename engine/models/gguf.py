"""A llama-style GGUF file rewritten as an mlx-lm model folder, its weights left as they are."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

GROUP_SIZE = 32
SPECIAL_TOKEN = 3
MODULES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
PRE_TOKENIZERS = {
    "smollm": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
}

Metadata = dict[str, Any]
Weights = dict[str, mx.array]


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write what `mlx_lm.load` needs into `folder`: weights, configuration, tokenizer.

    Quantised weights stay so, bit for bit: GGUF's Q4_1 and Q8_0 are affine in groups of 32.

    Raises ValueError if the file's architecture or tokenizer is not one that is understood.
    """
    loaded = mx.load(str(gguf), return_metadata=True)
    arrays, raw = cast(tuple[dict[str, mx.array], dict[str, Any]], loaded)
    metadata = {key: _plain(value) for key, value in raw.items()}
    _check_kind(metadata)
    weights = _weights(arrays, metadata)
    config = _config(weights, metadata)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    _write_json(folder / "config.json", config)
    _tokenizer(metadata).save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(metadata))


def _plain(value: Any) -> Any:
    """A metadata value as Python has it; a single precision float as its shortest decimal."""
    if not isinstance(value, mx.array):
        return value
    if value.dtype == mx.float32 and value.ndim == 0:
        return float(str(np.float32(cast(float, value.item()))))
    return value.tolist()


def _check_kind(metadata: Metadata) -> None:
    understood = {
        "general.architecture": {"llama"},
        "tokenizer.ggml.model": {"gpt2"},
        "tokenizer.ggml.pre": set(PRE_TOKENIZERS),
    }
    for key, values in understood.items():
        if metadata.get(key) not in values:
            raise ValueError(f"{key} is {metadata.get(key)!r}, not one of {sorted(values)}")


def _weights(arrays: Weights, metadata: Metadata) -> Weights:
    heads = {
        "attn_q": metadata["llama.attention.head_count"],
        "attn_k": metadata["llama.attention.head_count_kv"],
    }
    weights = {}
    for name, array in arrays.items():
        match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(\w+)", name)
        if match is None:
            raise ValueError(f"{name!r} is no tensor of a model")
        block, module, parameter = match.groups()
        prefix = f"model.layers.{block}." if block else ""
        if module in heads:
            array = _rotary_halves(array, heads[module])
        weights[f"{prefix}{MODULES[module]}.{parameter}"] = _widened(array)
    return weights


def _widened(array: mx.array) -> mx.array:
    """Scales in float32, so that the model computes in float32, as llama.cpp does with the file."""
    return array.astype(mx.float32) if mx.issubdtype(array.dtype, mx.floating) else array


def _rotary_halves(rows: mx.array, heads: int) -> mx.array:
    """Rows of q or k from GGUF's order, where the two halves of a head alternate, to MLX's."""
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def _config(weights: Weights, metadata: Metadata) -> dict[str, Any]:
    def llama(key: str) -> Any:
        return metadata[f"llama.{key}"]

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": llama("embedding_length"),
        "intermediate_size": llama("feed_forward_length"),
        "num_hidden_layers": llama("block_count"),
        "num_attention_heads": llama("attention.head_count"),
        "num_key_value_heads": llama("attention.head_count_kv"),
        "rms_norm_eps": llama("attention.layer_norm_rms_epsilon"),
        "rope_theta": llama("rope.freq_base"),
        "max_position_embeddings": llama("context_length"),
        "vocab_size": llama("vocab_size"),
        "tie_word_embeddings": "lm_head.weight" not in weights,
        "hidden_act": "silu",
        "dtype": "float32",
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"],
        **_quantization(weights),
    }


def _quantization(weights: Weights) -> dict[str, Any]:
    """The width of most quantised weights, and beside it each module that has another."""
    widths = {
        name.removesuffix(".scales"): _bits(weights[name.replace(".scales", ".weight")], scales)
        for name, scales in weights.items()
        if name.endswith(".scales")
    }
    if not widths:
        return {}
    usual = Counter(widths.values()).most_common(1)[0][0]
    others = {
        module: {"group_size": GROUP_SIZE, "bits": bits}
        for module, bits in widths.items()
        if bits != usual
    }
    return {"quantization": {"group_size": GROUP_SIZE, "bits": usual} | others}


def _bits(packed: mx.array, scales: mx.array) -> int:
    return 32 * packed.shape[-1] // (GROUP_SIZE * scales.shape[-1])


def _tokenizer(metadata: Metadata) -> Tokenizer:
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[metadata["tokenizer.ggml.pre"]]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, metadata["tokenizer.ggml.token_type"], strict=True)
            if kind == SPECIAL_TOKEN
        ]
    )
    return tokenizer


def _tokenizer_config(metadata: Metadata) -> dict[str, Any]:
    def token(role: str) -> str:
        return metadata["tokenizer.ggml.tokens"][metadata[f"tokenizer.ggml.{role}_token_id"]]

    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": token("bos"),
        "eos_token": token("eos"),
        "pad_token": token("padding"),
        "unk_token": token("unknown"),
        "add_bos_token": metadata["tokenizer.ggml.add_bos_token"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata["llama.context_length"],
        "chat_template": metadata["tokenizer.chat_template"],
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
