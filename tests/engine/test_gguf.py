"""A converted GGUF file is the same model; one that is not understood is refused by name."""

import json

import mlx.core as mx
import numpy as np
import pytest

from engine.models.gguf import convert_gguf

HEADS, KEY_VALUE_HEADS, HEAD_DIM, HIDDEN = 4, 2, 8, 32
TOKENS = ["<end>", "a", "b", "ab"]


def metadata(**changed: object) -> dict[str, object]:
    numbers = {
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KEY_VALUE_HEADS,
        "llama.block_count": 1,
        "llama.context_length": 64,
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": 48,
        "llama.vocab_size": len(TOKENS),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    return {
        **{key: mx.array(number, mx.uint32) for key, number in numbers.items()},
        "llama.attention.layer_norm_rms_epsilon": mx.array(1e-5),
        "llama.rope.freq_base": mx.array(10000.0),
        "general.architecture": "llama",
        "tokenizer.chat_template": "{{ messages }}",
        "tokenizer.ggml.add_bos_token": mx.array(False),
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.token_type": mx.array([3, 1, 1, 1]),
        "tokenizer.ggml.tokens": TOKENS,
        **changed,
    }


def weights() -> dict[str, mx.array]:
    shapes = {
        "token_embd": (len(TOKENS), HIDDEN),
        "output": (len(TOKENS), HIDDEN),
        "blk.0.attn_q": (HEADS * HEAD_DIM, HIDDEN),
        "blk.0.attn_k": (KEY_VALUE_HEADS * HEAD_DIM, HIDDEN),
    }
    return {f"{name}.weight": mx.random.normal(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("general.architecture", "gpt2"),
        ("tokenizer.ggml.model", "llama"),
        ("tokenizer.ggml.pre", "default"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path, key, value):
    mx.save_gguf(str(tmp_path / "m.gguf"), weights(), metadata(**{key: value}))
    with pytest.raises(ValueError, match=f"{key} is '{value}', not one of"):
        convert_gguf(tmp_path / "m.gguf", tmp_path)


def test_query_and_key_rows_are_reordered_for_the_other_rotary_layout(tmp_path):
    stored = weights()
    mx.save_gguf(str(tmp_path / "m.gguf"), stored, metadata())
    convert_gguf(tmp_path / "m.gguf", tmp_path)
    converted = mx.load(str(tmp_path / "model.safetensors"))
    x = mx.random.normal((5, HIDDEN))

    def rotated(weight: mx.array, heads: int, interleaved: bool) -> mx.array:
        per_head = (x @ weight.T).reshape(1, 5, heads, HEAD_DIM).swapaxes(1, 2)
        return mx.fast.rope(
            per_head, HEAD_DIM, traditional=interleaved, base=10000.0, scale=1.0, offset=3
        )

    def scores(query: mx.array, key: mx.array, interleaved: bool) -> np.ndarray:
        keys = mx.repeat(rotated(key, KEY_VALUE_HEADS, interleaved), 2, axis=1)
        return np.array(rotated(query, HEADS, interleaved) @ keys.swapaxes(-1, -2))

    attention = "model.layers.0.self_attn"
    np.testing.assert_allclose(
        scores(
            converted[f"{attention}.q_proj.weight"], converted[f"{attention}.k_proj.weight"], False
        ),
        scores(stored["blk.0.attn_q.weight"], stored["blk.0.attn_k.weight"], True),
        rtol=1e-4,
        atol=1e-4,
    )


def test_the_configuration_says_what_the_metadata_said(tmp_path):
    mx.save_gguf(str(tmp_path / "m.gguf"), weights(), metadata())
    convert_gguf(tmp_path / "m.gguf", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["rms_norm_eps"] == 1e-5
    assert config["hidden_size"] == HIDDEN
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (4, 2)
    assert config["tie_word_embeddings"] is False
