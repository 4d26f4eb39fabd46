"""Tiny random transformers models in PyTorch, saved to folders as their library saves them."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from benchmarks.words import words

SHARED: dict[str, Any] = {
    "vocab_size": 96,
    # the embedding's factor, the root of the width, is exact in the bfloat16 that mlx-lm rounds to
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 70000.0},
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 150000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 4096,  # the ramp's bounds are 4.05 and 8.69, or 4 and 9
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
BY_LAYER_TYPE = {
    "full_attention": {"rope_type": "default", "rope_theta": 500000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
}
GEMMA = {"head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 16}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
MIXTRAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
GPT_OSS = {"head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 6}

REFERENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", {"n_embd": 64, "n_head": 4, "n_layer": 6, "n_positions": 512}),
    "llama": ("Llama", {}),
    "llama, llama3 rotation": ("Llama", {"rope_parameters": LLAMA3}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral, sliding window": ("Mistral", {"sliding_window": 6}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 8}),
    "gemma2": ("Gemma2", GEMMA),
    "gemma3": ("Gemma3Text", GEMMA | {"rope_parameters": BY_LAYER_TYPE}),
    "phi3": ("Phi3", {}),
    "phi3, sliding window": ("Phi3", {"sliding_window": 6}),
    "starcoder2, sliding window": ("Starcoder2", {"sliding_window": 6, "hidden_act": "gelu"}),
    "mixtral": ("Mixtral", MIXTRAL),
    "mixtral, sliding window": ("Mixtral", MIXTRAL | {"sliding_window": 6}),
    "gpt_oss, truncated": ("GptOss", GPT_OSS | {"rope_parameters": YARN | {"truncate": True}}),
    "gpt_oss, not truncated": ("GptOss", GPT_OSS | {"rope_parameters": YARN | {"truncate": False}}),
    "olmo2": ("Olmo2", {}),
    "qwen3_moe": ("Qwen3Moe", EXPERTS | {"head_dim": 8, "num_experts": 4, "norm_topk_prob": True}),
    "deepseek_v3": (
        "DeepseekV3",
        EXPERTS
        | {
            "num_key_value_heads": 4,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "n_group": 2,
            "topk_group": 1,
        },
    ),
}
"""Architecture and variant: the name of transformers' class, and its configuration."""


def reference_model(name: str, **changes: Any) -> torch.nn.Module:
    """The model in float32, with the same random weights in each call."""
    kind, differences = REFERENCES[name]
    config = getattr(transformers, f"{kind}Config")(**SHARED | differences | changes)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def save(model: torch.nn.Module, folder: Path) -> Path:
    """Save the model and a tokenizer, as a hub folder has them."""
    model.save_pretrained(folder)
    words(model.config.vocab_size).save_pretrained(folder)
    return folder
