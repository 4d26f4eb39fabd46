"""EleutherAI's sparsify: a folder a module, ``cfg.json`` and ``sae.safetensors``."""

import json
from pathlib import Path

import mlx.core as mx

from engine.errors import FeatureSetError
from engine.features.activations import Activation, GroupMax, TopK
from engine.features.encoder import Encoder
from engine.features.feature_set import FeatureSet
from engine.features.formats.configuration import Configuration
from engine.features.formats.tensors import read_safetensors
from engine.features.hook_names import point_of_module
from engine.features.places import Places

CONFIGURATION, WEIGHTS = "cfg.json", "sae.safetensors"


def reads(folder: Path) -> bool:
    """Whether a folder is in this format."""
    return (folder / CONFIGURATION).is_file() and (folder / WEIGHTS).is_file()


def load(folder: Path, places: Places | None = None) -> list[FeatureSet]:
    """The set of a folder, which is called as its module is: ``layers.5.mlp``.

    A transcoder reads the module's input and writes its output; an autoencoder is of its output,
    and has the decoder's bias subtracted before encoding. Raises FeatureSetError.
    """
    cfg = Configuration.of_json(folder / CONFIGURATION)
    cfg.refuse("signed", False)
    tensors = read_safetensors(folder / WEIGHTS)
    d_in = cfg.require("d_in", int)
    n_features = cfg.get("num_latents", int) or d_in * cfg.require("expansion_factor", int)
    decoder = tensors.take("W_dec", n_features, None)
    d_out = decoder.shape[1]
    is_transcoder = bool(cfg.get("transcode", bool, False))
    has_skip = cfg.get("skip_connection", bool, False)
    bias = tensors.take("b_dec", d_out)
    encoder = Encoder(
        tensors.take("encoder.weight", n_features, d_in),
        tensors.take("encoder.bias", n_features),
        _activation(cfg, n_features),
        None if is_transcoder else bias,
    )
    skip = tensors.take("W_skip", d_out, d_in) if has_skip else None
    tensors.check_all_taken("what sparsify computes with this configuration")
    found = places or _places(folder, is_transcoder)
    return [
        FeatureSet(
            name=folder.name,
            architecture=_name(encoder.activation, is_transcoder, skip is not None),
            reads=found.reads,
            writes=found.writes,
            encoder=encoder,
            decoder=decoder,
            decoder_bias=bias,
            skip=skip,
            reads_before_norm_weight=found.before_norm_weight,
            metadata={},
        )
    ]


def save(feature_set: FeatureSet, folder: Path) -> None:
    """Write a set as sparsify does; the folder is to be called as the module is.

    Raises FeatureSetError for what sparsify does not compute.
    """
    encoder = feature_set.encoder
    activation = encoder.activation
    plain = (
        encoder.normalization is None
        and feature_set.decoder_scale is None
        and (encoder.input_bias is not None) is not feature_set.is_transcoder
    )
    if not plain or not isinstance(activation, TopK | GroupMax):
        raise FeatureSetError(f"sparsify does not compute {feature_set.architecture}")
    cfg = {
        "activation": activation.name,
        "expansion_factor": 1,
        "normalize_decoder": False,
        "num_latents": feature_set.n_features,
        "k": activation.k,
        "multi_topk": False,
        "skip_connection": feature_set.skip is not None,
        "transcode": feature_set.is_transcoder,
        "d_in": feature_set.d_in,
    }
    zeros = mx.zeros(feature_set.n_features)
    arrays = {
        "encoder.weight": encoder.weight,
        "encoder.bias": zeros if encoder.bias is None else encoder.bias,
        "W_dec": feature_set.decoder,
        "b_dec": feature_set.decoder_bias,
    }
    if feature_set.skip is not None:
        arrays["W_skip"] = feature_set.skip
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / WEIGHTS), arrays)
    (folder / CONFIGURATION).write_text(json.dumps(cfg, indent=2), encoding="utf-8")


def _activation(cfg: Configuration, n_features: int) -> Activation:
    k = cfg.count("k", n_features)
    name = cfg.get("activation", str, "topk")
    if name == "topk":
        return TopK(k)
    if name == "groupmax" and n_features % k == 0:
        return GroupMax(k)
    if name == "groupmax":
        raise FeatureSetError(f"{cfg.source}: {n_features} features make no {k} groups")
    raise FeatureSetError(f"{cfg.source}: activation {name!r} is neither topk nor groupmax")


def _places(folder: Path, is_transcoder: bool) -> Places:
    writes = point_of_module(folder.name)
    return Places(point_of_module(folder.name, is_transcoder), writes)


def _name(activation: Activation, is_transcoder: bool, has_skip: bool) -> str:
    words = (activation.name,) + ("skip",) * has_skip + ("transcoder",) * is_transcoder
    return "_".join(words)
