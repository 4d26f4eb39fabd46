"""Write anew what `test_feature_formats.py` reads: sets that SAELens wrote, with its results.

    pip install 'neuroscope-bridge[sae-lens]'
    python tests/engine/features/write_sae_lens_files.py

Each folder is what SAELens saves of a set with random weights, and `expected.safetensors`: values,
their features and their reconstructions as SAELens computes them.
"""

from itertools import product
from pathlib import Path

import torch
from sae_lens.registry import get_sae_class
from sae_lens.saes.sae import SAEMetadata
from safetensors.torch import save_file

HERE = Path(__file__).with_name("sae_lens")
D_IN, D_OUT, D_SAE, K = 6, 4, 16, 3
AUTOENCODERS = {
    "standard": {},
    "gated": {},
    "jumprelu": {},
    "topk": {"k": K},
    "topk_by_norm": {"k": K, "rescale_acts_by_decoder_norm": True},
    "abstopk": {"k": K},
}
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
NORMALIZED = ("standard", "topk_by_norm")
NORMALIZATIONS = ("layer_norm", "constant_norm_rescale")


def main() -> None:
    torch.manual_seed(19)
    for name in AUTOENCODERS:
        write(name, "none", options_of(name))
    for name, normalization in product(NORMALIZED, NORMALIZATIONS):
        write(name, normalization, options_of(name))
    for name in TRANSCODERS:
        write(name, "none", {"d_out": D_OUT, "apply_b_dec_to_input": False})


def options_of(name: str) -> dict:
    return {**AUTOENCODERS[name], "apply_b_dec_to_input": name != "standard"}


def write(name: str, normalization: str, options: dict) -> None:
    kind, configuration = get_sae_class(name.removesuffix("_by_norm"))
    places = {"hook_name": "blocks.1.hook_resid_post"}
    if "transcoder" in name:
        places["hook_name_out"] = "blocks.1.hook_mlp_out"
    sae = kind(
        configuration(
            d_in=D_IN,
            d_sae=D_SAE,
            normalize_activations=normalization,
            metadata=SAEMetadata(model_name="random", **places),
            **options,
        )
    )
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    x = torch.randn(2, 5, D_IN) * 2 + 1
    folder = HERE / (name if normalization == "none" else f"{name}_{normalization}")
    with torch.no_grad():
        expected = {"x": x, "features": sae.encode(x), "reconstruction": sae(x)}
    sae.save_model(folder)
    save_file(expected, folder / "expected.safetensors")


if __name__ == "__main__":
    main()
