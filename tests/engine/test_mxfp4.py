"""gpt-oss as OpenAI publishes it: experts in mxfp4, gate and up interleaved."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_models import reference_model
from safetensors.torch import save_file

from benchmarks.words import words
from engine.runs.forward import forward
from engine.runs.kit import load_model

TOKENS = [3, 31, 4, 15, 9, 26, 5, 35, 8, 93, 23, 84]
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=np.float32)
"""The magnitudes of a 4-bit float; its highest bit is the sign (OCP Microscaling Formats 1.0)."""


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    """A folder with experts in blocks and scales, and the reference with the same numbers."""
    model = reference_model("gpt_oss, not truncated", intermediate_size=64)
    folder = tmp_path_factory.mktemp("mxfp4")
    weights: dict[str, torch.Tensor] = {}
    generator = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            experts, inputs, outputs = parameter.shape
            blocks = generator.integers(0, 256, (experts, outputs, inputs // 32, 16), np.uint8)
            scales = generator.integers(121, 124, (experts, outputs, inputs // 32), np.uint8)
            numbers = torch.from_numpy(dequantised(blocks, scales)).transpose(1, 2)
            parameter.data.copy_(numbers)
            weights[f"{name}_blocks"] = torch.from_numpy(blocks)
            weights[f"{name}_scales"] = torch.from_numpy(scales)
        else:
            weights[name] = parameter.detach()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict() | {"quantization_config": {"quant_method": "mxfp4"}}
    (folder / "config.json").write_text(json.dumps(config, default=str))
    words(config["vocab_size"]).save_pretrained(folder)
    return folder, model


def dequantised(blocks: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Two numbers a byte, the lower half first, 32 to a power of two: ``[experts, out, in]``."""
    codes = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*blocks.shape[:-1], 32)
    numbers = np.where(codes & 8, -1, 1) * E2M1[codes & 7]
    numbers = numbers * np.exp2(scales.astype(np.float32) - 127)[..., None]
    return numbers.reshape(*blocks.shape[:2], -1).astype(np.float32)


def test_the_published_layout_computes_the_reference_s_logits(published):
    folder, reference = published
    with torch.no_grad():
        expected = reference(torch.tensor([TOKENS])).logits.numpy()
    logits = forward(load_model(folder), [TOKENS], logits="all").logits
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5)
