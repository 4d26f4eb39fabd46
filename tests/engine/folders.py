"""Folders of tiny models with random weights, as tests of loading need them."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.utils import quantize_model, save_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 256,
    "tie_word_embeddings": True,
}


def tiny_folder(folder: Path, bits: int | None = None, **changed: Any) -> Path:
    """A llama of two layers whose tokens are the bytes; `changed` is of its configuration."""
    folder.mkdir(parents=True)
    config = CONFIG | changed
    mx.random.seed(1)
    model = Model(ModelArgs.from_dict(config))
    if bits:
        model, config = quantize_model(model, config, group_size=32, bits=bits)
    save_model(folder, model)
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {byte: i for i, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    return folder
