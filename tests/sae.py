"""A sparse autoencoder of the default model, written and computed by numpy alone."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

LAYER, WIDTH, FEATURES = 12, 576, 64


def write_sae(folder: Path) -> None:
    """Write random features of layer 12's residual stream, as SAELens does."""
    random = np.random.default_rng(19)
    decoder = random.standard_normal((FEATURES, WIDTH)).astype(np.float32) / 24
    folder.mkdir()
    arrays = {
        "W_enc": np.ascontiguousarray(decoder.T) / 8,
        "W_dec": decoder,
        "b_enc": np.full(FEATURES, -0.5, np.float32),
        "b_dec": np.zeros(WIDTH, np.float32),
    }
    save_file(arrays, folder / "sae_weights.safetensors")
    cfg = {
        "architecture": "standard",
        "d_in": WIDTH,
        "d_sae": FEATURES,
        "dtype": "float32",
        "apply_b_dec_to_input": True,
        "metadata": {
            "sae_lens_version": "6.0.0",
            "model_name": "smollm2",
            "hook_name": f"blocks.{LAYER}.hook_resid_post",
        },
    }
    (folder / "cfg.json").write_text(json.dumps(cfg))


def features_of(folder: Path, residual: np.ndarray) -> np.ndarray:
    """The features ``[..., 64]`` of values ``[..., 576]``."""
    arrays = load_file(folder / "sae_weights.safetensors")
    return np.maximum((residual - arrays["b_dec"]) @ arrays["W_enc"] + arrays["b_enc"], 0)
