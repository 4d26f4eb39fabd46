"""A tiny random model of every architecture of mlx-lm that runs on a CPU."""

import importlib
from copy import deepcopy
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map

SLIDING, FULL, LINEAR = "sliding_attention", "full_attention", "linear_attention"

SHARED: dict[str, Any] = {
    # sizes; mlx-lm drops the names that an architecture does not know
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    # norms, rotation, masks
    "rms_norm_eps": 1e-5,
    "norm_eps": 1e-5,
    "layer_norm_eps": 1e-5,
    "layer_norm_epsilon": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "rope_parameters": {"rope_theta": 10000.0, "type": "default"},
    "partial_rotary_factor": 0.5,
    "sliding_window": 6,
    "layer_types": [SLIDING, FULL],
    # yes or no
    "attention_bias": False,
    "mlp_bias": False,
    "use_bias": False,
    "use_qk_norm": True,
    "tie_word_embeddings": False,
    # experts
    "num_experts": 4,
    "n_routed_experts": 4,
    "num_local_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "num_experts_per_token": 2,
    "num_shared_experts": 1,
    "n_shared_experts": 1,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    # latent attention
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 16,
    "index_topk": 4,
    # linear attention and state spaces
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
    "full_attention_interval": 2,
    "conv_L_cache": 3,
    "conv_kernel": 4,
    "use_conv_bias": True,
    "conv_bias": False,
    # muP multipliers
    "logits_scaling": 2.0,
    "attention_multiplier": 0.3,
    "embedding_multiplier": 1.5,
    "residual_multiplier": 0.7,
}

MAMBA: dict[str, Any] = {
    "mamba_d_conv": 4,
    "mamba_d_state": 8,
    "mamba_expand": 2,
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_n_groups": 2,
    "mamba_proj_bias": False,
    "mamba_conv_bias": True,
    "time_step_rank": 4,
    "state_size": 8,
    "time_step_limit": [0.001, 100.0],
}

GPT: dict[str, Any] = {
    "n_ctx": 512,
    "n_positions": 512,
    "n_embd": 32,
    "n_head": 4,
    "n_layer": 2,
    "n_inner": 48,
}

MUP: dict[str, Any] = {"dim_model_base": 16, "scale_depth": 1.4, "scale_emb": 2.0}

LONGCAT: dict[str, Any] = {
    "attention_method": "MLA",
    "zero_expert_type": "identity",
    "zero_expert_num": 1,
    "num_layers": 2,
    "ffn_hidden_size": 48,
    "expert_ffn_hidden_size": 16,
    "moe_topk": 2,
    "mla_scale_q_lora": True,
    "mla_scale_kv_lora": True,
}

KIMI_DELTA: dict[str, Any] = {
    "linear_attn_config": {
        "kda_layers": [1],
        "full_attn_layers": [2],
        "num_heads": 4,
        "head_dim": 8,
        "short_conv_kernel_size": 4,
    },
    "model_max_length": 512,
}

YARN: dict[str, Any] = {
    "type": "yarn",
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}

ROPE_BY_LAYER_TYPE: dict[str, Any] = {
    SLIDING: {"rope_theta": 10000.0, "rope_type": "default"},
    FULL: {"rope_theta": 50000.0, "rope_type": "default"},
}

ATTENTION_BLOCK: dict[str, Any] = {
    "attention": {"n_heads_in_group": 2},
    "ffn": {"ffn_mult": 1.5},
}

DIFFERENCES: dict[str, dict[str, Any]] = {
    "Klear": {},
    "afm7": {
        "hidden_dim": 32,
        "num_layers": 3,
        "num_kv_reuse_layers": 1,
        "num_heads": 4,
        "num_kv_heads": 2,
    },
    "afmoe": {"num_dense_layers": 1},
    "apertus": {"post_norm": False, "qk_norm": True},
    "baichuan_m1": {"sliding_window_layers": [0], "conv_window": 2},
    "bailing_hybrid": {"layer_group_size": 2, "group_norm_size": 2},
    "bailing_moe": {"moe_router_enable_expert_bias": True},
    "bailing_moe_linear": {"layer_group_size": 2, "group_norm_size": 2},
    "bailing_moe_v3": {"layer_group_size": 2, "moe_shared_expert_intermediate_size": 16},
    "cohere": {},
    "cohere2": {"sliding_window_pattern": 2},
    "dbrx": {
        "d_model": 32,
        "n_layers": 2,
        "n_heads": 4,
        "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
    },
    "deepseek": {},
    "deepseek_v2": {"rope_scaling": YARN, "topk_method": "greedy"},
    "deepseek_v3": {"rope_scaling": YARN},
    "deepseek_v32": {"num_key_value_heads": 4},
    "deepseek_v41": {
        "head_dim": 16,
        "o_groups": 2,
        "o_lora_rank": 8,
        "scoring_func": "sqrtsoftplus",
        "compress_ratios": [0, 4],
        "kv_source_layer_ids": [1],
        "index_source_layer_ids": [1],
        "num_shared_experts": 1,
    },
    "dots1": {},
    "ernie4_5": {},
    "ernie4_5_moe": {"moe_layer_start_index": 1, "moe_num_shared_experts": 1, "moe_k": 2},
    "exaone": {"num_layers": 2},
    "exaone4": {"sliding_window_pattern": "LG"},
    "exaone_moe": {"is_moe_layer": [False, True]},
    "falcon_h1": MAMBA | {"mamba_d_ssm": 32},
    "gear": {
        "layer_types": ["conv_mixer", SLIDING, FULL],
        "num_hidden_layers": 3,
        "attn_logit_softcapping": 20.0,
    },
    "gemma": {},
    "gemma2": {},
    "gemma3": {"text_config": "gemma3_text"},
    "gemma3_text": {"sliding_window_pattern": 2},
    "gemma3n": {"text_config": "gemma3n_text"},
    "gemma4": {"text_config": "gemma4_text"},
    "gemma4_text": {
        "num_hidden_layers": 4,
        "layer_types": [SLIDING, FULL, SLIDING, FULL],
        "num_kv_shared_layers": 2,
        "global_head_dim": 16,
        "rope_parameters": None,
        "vocab_size_per_layer_input": 96,
        "hidden_size_per_layer_input": 8,
        "enable_moe_block": True,
        "top_k_experts": 2,
    },
    "glm": {},
    "glm4": {},
    "glm4_moe": {},
    "glm4_moe_lite": {},
    "glm_moe_dsa": {"num_key_value_heads": 4},
    "gpt2": GPT,
    "gpt_bigcode": GPT,
    "gpt_neox": {"rotary_emb_base": 10000, "rotary_pct": 0.5},
    "gpt_oss": {"rope_scaling": YARN},
    "gptj": GPT | {"rotary_dim": 4},
    "granite": {},
    "granitemoe": {},
    "granitemoehybrid": MAMBA | {"layer_types": ["mamba", "attention"]},
    "helium": {},
    "hunyuan": {
        "rope_scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0},
        "moe_topk": 2,
        "num_shared_expert": 1,
        "use_mixed_mlp_moe": True,
        "use_cla": True,
        "cla_share_factor": 2,
    },
    "hunyuan_v1_dense": {},
    "internlm2": {},
    "internlm3": {},
    "iquestloopcoder": {"loop_window_size": 6},
    "jamba": MAMBA
    | {
        "attn_layer_offset": 1,
        "attn_layer_period": 2,
        "expert_layer_offset": 1,
        "expert_layer_period": 2,
    },
    "kimi_k25": {"text_config": "deepseek_v3"},
    "kimi_k3": {"text_config": "kimi_k3_text"},
    "kimi_linear": KIMI_DELTA,
    "kimi_vl": {"text_config": "deepseek_v3"},
    "laguna": {"rope_parameters": ROPE_BY_LAYER_TYPE, "gating": True},
    "lfm2": {
        "layer_types": ["conv", FULL],
        "block_dim": 32,
        "block_multiple_of": 8,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
    },
    "lfm2-vl": {"text_config": "lfm2"},
    "lfm2_moe": {"layer_types": ["conv", FULL], "use_expert_bias": True, "num_dense_layers": 1},
    "lille-130m": GPT | {"n_embd": 128, "block_size": 512, "n_kv_heads": 2},
    "llama": {},
    "llama4": {"text_config": "llama4_inner"},
    "llama4_text": {"intermediate_size_mlp": 48, "no_rope_layers": [1, 0]},
    "longcat_flash": LONGCAT,
    "longcat_flash_ngram": LONGCAT
    | {"ngram_vocab_size_ratio": 2, "emb_neighbor_num": 3, "emb_split_num": 2},
    "mamba": MAMBA,
    "mamba2": MAMBA | {"num_heads": 6, "n_groups": 2},
    "mellum": {"rope_parameters": ROPE_BY_LAYER_TYPE},
    "mimo": {},
    "mimo_v2_flash": {
        "hybrid_layer_pattern": [1, 0],
        "moe_layer_freq": [0, 1],
        "add_swa_attention_sink_bias": True,
        "add_full_attention_sink_bias": False,
        "sliding_window_size": 6,
        "layernorm_epsilon": 1e-5,
        "swa_rope_theta": 10000.0,
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 8,
        "swa_v_head_dim": 8,
    },
    "minicpm": MUP,
    "minicpm3": MUP
    | {"rope_scaling": {"type": "longrope", "short_factor": 1.0, "long_factor": 1.0}},
    "minimax": {"rotary_dim": 4},
    "minimax_m3_vl": {"text_config": "minimax_m3_text"},
    "ministral3": {"rope_parameters": YARN},
    "mistral3": {"text_config": "ministral3"},
    "mistral4": {"rope_parameters": YARN},
    "mixtral": {},
    "muse_glimmer": {},
    "nanbeige": {"num_loops": 2},
    "nanochat": {},
    "nemotron": {"hidden_act": "relu2"},
    "nemotron-nas": {
        "num_hidden_layers": 4,
        "block_configs": [
            ATTENTION_BLOCK,
            {"attention": {"no_op": True}, "ffn": {"ffn_mult": 1.5}},
            {"attention": {"replace_with_linear": True}, "ffn": {"replace_with_linear": True}},
            ATTENTION_BLOCK | {"ffn": {"no_op": True}},
        ],
    },
    "nemotron_h": {
        "hybrid_override_pattern": ["M", "*", "-", "E"],
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "mamba_proj_bias": False,
        "ssm_state_size": 8,
        "n_groups": 2,
        "moe_shared_expert_intermediate_size": 16,
    },
    "olmo2": {},
    "olmo3": {},
    "olmo_hybrid": {"layer_types": [LINEAR, FULL], "linear_allow_neg_eigval": True},
    "olmoe": {},
    "openelm": {
        "num_transformer_layers": 2,
        "model_dim": 32,
        "num_query_heads": [4, 4],
        "num_kv_heads": [2, 2],
        "ffn_multipliers": [1.0, 2.0],
        "ffn_dim_divisor": 8,
    },
    "phi": {},
    "phi3": {},
    "phi3small": {
        "dense_attention_every_n_layers": 2,
        "ff_intermediate_size": 48,
        "gegelu_limit": 20.0,
        "vocab_size": 100352,  # it writes to fixed token ids, unchecked
    },
    "phimoe": {},
    "phixtral": {
        "num_vocab": 96,
        "model_dim": 32,
        "num_heads": 4,
        "num_layers": 2,
        "rotary_dim": 4,
    },
    "pixtral": {"text_config": "llama"},
    "plamo": {"n_shared_head": 2},
    "plamo2": {"hidden_size_per_head": 8, "mamba_d_state": 8, "mamba_num_heads": 4},
    "plamo3": {"sliding_window_pattern": 2},
    "prism_hadamard_qwen35": {
        "text_config": "prism_hadamard_text",
        "tensor_namespace": "mlx-vlm-qwen3_5",
        "quantization": {"bits": 2, "group_size": 128, "mode": "affine"},
        "modules": [
            {"path": path, "block": block, "embedding": block == 0, "dtype": "float16"}
            for path, block in {
                "model.embed_tokens": 0,
                "model.layers.0.mlp.down_proj": 512,
            }.items()
        ],
    },
    "qwen": {"kv_channels": 8},
    "qwen2": {},
    "qwen2_moe": {},
    "qwen2_vl": {"text_config": "qwen2"},
    "qwen3": {},
    "qwen3_5": {"text_config": "qwen3_5_text"},
    "qwen3_5_moe": {"text_config": "qwen3_5_moe_text"},
    "qwen3_moe": {},
    "qwen3_next": {},
    "qwen3_vl": {"text_config": "qwen3"},
    "qwen3_vl_moe": {"text_config": "qwen3_moe"},
    "recurrent_gemma": {
        "conv1d_width": 4,
        "logits_soft_cap": 30.0,
        "attention_window_size": 6,
        "block_types": ["recurrent", "attention"],
    },
    "rwkv7": {
        "a_low_rank_dim": 4,
        "v_low_rank_dim": 4,
        "gate_low_rank_dim": 4,
        "decay_low_rank_dim": 4,
    },
    "seed_oss": {},
    "smollm3": {"no_rope_layer_interval": 2},
    "solar_open": {},
    "spark2_5": {"rope_parameters": ROPE_BY_LAYER_TYPE},
    "stablelm": {"use_qkv_bias": True},
    "starcoder2": {},
    "step3p5": {
        "num_attention_groups": 2,
        "moe_num_experts": 4,
        "moe_top_k": 2,
        "share_expert_dim": 16,
    },
    "talkie": {},
    "telechat3": {},
    "youtu_llm": {},
}
"""What each architecture needs beyond `SHARED`; a text_config names an entry here or below."""

TEXT_CONFIGS: dict[str, dict[str, Any]] = {
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": [SLIDING, FULL, SLIDING, FULL],
        "num_kv_shared_layers": 2,
        "vocab_size_per_layer_input": 96,
        "rope_local_base_freq": 10000.0,
        "final_logit_softcapping": 30.0,
        "activation_sparsity_pattern": [0.9, 0.0, 0.0, 0.0],
        "hidden_size_per_layer_input": 8,
        "altup_num_inputs": 2,
        "altup_coef_clip": 120.0,
        "altup_correct_scale": True,
        "altup_active_idx": 0,
        "laurel_rank": 4,
    },
    "kimi_k3_text": KIMI_DELTA | {"mla_use_output_gate": True, "attn_res_block_size": 2},
    "llama4_inner": {
        "num_hidden_layers": 4,
        "intermediate_size_mlp": 48,
        "attention_chunk_size": 6,
        "interleave_moe_layer_step": 2,
        "num_experts_per_tok": 1,
    },
    "minimax_m3_text": {
        "dense_intermediate_size": 48,
        "layer_types": [FULL, "sparse_attention"],
        "mlp_layer_types": ["dense", "sparse"],
        "index_block_size": 2,
        "index_topk_blocks": 2,
    },
    "qwen3_5_text": {"num_experts": 0},
    "qwen3_5_moe_text": {},
    "prism_hadamard_text": {"hidden_size": 128, "intermediate_size": 512, "num_experts": 0},
}
"""Configurations of language models that exist inside another architecture only."""

NOT_ON_A_CPU: dict[str, str] = {
    "bitnet": "its ternary linear layer is a Metal kernel",
    "muse_spark": "its norm and rotation of query and key are one Metal kernel",
    "olmo": "needs the package ai2-olmo",
}

ARCHITECTURES = tuple(DIFFERENCES)


def tiny_model(name: str, **changes: Any) -> nn.Module:
    """Build architecture *name* in float32, with the same random weights in each call.

    Args:
        name: the name of the file in ``mlx_lm.models``.
        changes: configuration entries to set on top of the tiny configuration.
    """
    module = importlib.import_module(f"mlx_lm.models.{name}")
    mx.random.seed(0)
    model = module.Model(module.ModelArgs.from_dict(tiny_config(name) | changes))
    model.update(tree_map(_perturbed, model.parameters()))
    model.eval()
    mx.eval(model.parameters())
    return model


def tiny_config(name: str) -> dict[str, Any]:
    """The configuration of the tiny model, as its ``config.json`` would contain it."""
    config = deepcopy(SHARED | {"model_type": name} | (DIFFERENCES | TEXT_CONFIGS)[name])
    if "text_config" in config:
        config["text_config"] = tiny_config(config["text_config"])
    return config


def _perturbed(parameter: mx.array) -> mx.array:
    """Away from ones and zeros, so that no norm, bias or sink is without effect."""
    if mx.issubdtype(parameter.dtype, mx.floating):
        return parameter.astype(mx.float32) + 0.1 * mx.random.normal(parameter.shape)
    return mx.random.randint(0, 1 << 31, parameter.shape).astype(parameter.dtype)
