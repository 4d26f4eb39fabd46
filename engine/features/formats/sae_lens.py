"""SAELens's folders: ``cfg.json`` and ``sae_weights.safetensors``, of version 6 and before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx

from engine.errors import FeatureSetError
from engine.features.activations import AbsTopK, Activation, Gated, JumpRelu, Relu, TopK
from engine.features.encoder import Encoder
from engine.features.feature_set import FeatureSet
from engine.features.formats.configuration import Configuration
from engine.features.formats.tensors import Tensors, read_safetensors, transposed
from engine.features.hook_names import hook_of_point
from engine.features.normalization import ConstantNorm, LayerNorm, Normalization
from engine.features.places import Places

CONFIGURATION, WEIGHTS = "cfg.json", "sae_weights.safetensors"
VERSION = "6.0.0"
"""The version whose layout is written."""

_RENAMED = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
_METADATA = (
    "model_name",
    "hook_name",
    "hook_name_out",
    "hook_head_index",
    "hook_head_index_out",
    "prepend_bos",
    "context_size",
    "dataset_path",
    "neuronpedia_id",
    "model_from_pretrained_kwargs",
    "sae_lens_version",
    "seqpos_slice",
)
_TRANSCODERS = {
    "transcoder": "standard",
    "skip_transcoder": "standard",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
_NORMALIZATIONS: dict[str, Callable[[], Normalization | None]] = {
    "none": lambda: None,
    "layer_norm": LayerNorm,
    "constant_norm_rescale": ConstantNorm,
    "expected_average_only_in": lambda: None,
}


def reads(folder: Path) -> bool:
    """Whether a folder is in this format."""
    return (folder / CONFIGURATION).is_file() and (folder / WEIGHTS).is_file()


def load(folder: Path, places: Places | None = None) -> list[FeatureSet]:
    """The set of a folder; `places` count more than what its configuration says.

    Its encoding and decoding are those of SAELens, in float32. Raises FeatureSetError.
    """
    cfg = _configuration(folder / CONFIGURATION)
    tensors = read_safetensors(folder / WEIGHTS)
    _drop_scaling_of_ones(tensors)
    architecture = cfg.require("architecture", str)
    is_transcoder = architecture in _TRANSCODERS
    d_in, n_features = cfg.require("d_in", int), cfg.require("d_sae", int)
    d_out = cfg.require("d_out", int) if is_transcoder else d_in
    weight = transposed(tensors.take("W_enc", d_in, n_features))
    decoder = tensors.take("W_dec", n_features, d_out)
    decoder_bias = tensors.take("b_dec", d_out)
    has_scale = cfg.get("rescale_acts_by_decoder_norm", bool, False)
    norms = mx.linalg.norm(decoder, axis=-1) if has_scale else None
    activation = _activation(_TRANSCODERS.get(architecture, architecture), cfg, tensors, norms)
    bias = None if isinstance(activation, Gated) else tensors.take("b_enc", n_features)
    skip = tensors.take("W_skip", d_out, d_in) if "skip" in architecture else None
    tensors.check_all_taken(architecture)
    subtracts = cfg.get("apply_b_dec_to_input", bool, not is_transcoder)
    if subtracts and is_transcoder:
        raise FeatureSetError(f"{cfg.source}: apply_b_dec_to_input of a transcoder")
    normalization = _normalization(cfg)
    found = places or _places(cfg, is_transcoder)
    return [
        FeatureSet(
            name=folder.name,
            architecture=architecture,
            reads=found.reads,
            writes=found.writes,
            encoder=Encoder(
                weight, bias, activation, decoder_bias if subtracts else None, normalization
            ),
            decoder=decoder,
            decoder_bias=decoder_bias,
            decoder_scale=None if norms is None else 1 / norms,
            skip=skip,
            normalization_out=None if is_transcoder else normalization,
            reads_before_norm_weight=found.before_norm_weight,
            metadata=cfg.fields["metadata"],
            warnings=_warnings(cfg),
        )
    ]


def save(feature_set: FeatureSet, folder: Path, **metadata: Any) -> None:
    """Write a set as SAELens 6 does, with more metadata such as ``model_name``.

    Raises FeatureSetError for one that SAELens has no architecture for.
    """
    cfg, arrays = _written(feature_set)
    places = {"hook_name": hook_of_point(feature_set.reads, feature_set.reads_before_norm_weight)}
    if feature_set.is_transcoder:
        places["hook_name_out"] = hook_of_point(feature_set.writes)
    cfg["metadata"] = {
        "sae_lens_version": VERSION,
        "sae_lens_training_version": None,
        **feature_set.metadata,
        **places,
        **metadata,
    }
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / WEIGHTS), arrays)
    (folder / CONFIGURATION).write_text(json.dumps(cfg, indent=2), encoding="utf-8")


# --- reading ---------------------------------------------------------------------------------


def _configuration(path: Path) -> Configuration:
    """The configuration as version 6 has it."""
    cfg = Configuration.of_json(path)
    fields = cfg.fields
    version = fields.get("sae_lens_version") or cfg.get("metadata", dict, {}).get(  # type: ignore[union-attr]
        "sae_lens_version"
    )
    if version is None or int(str(version).split(".")[0]) < 6:
        fields = _modern(cfg)
    fields.setdefault("architecture", "standard")
    fields.setdefault("metadata", {})
    cfg.fields = fields
    cfg.refuse("finetuning_scaling_factor", False)
    cfg.refuse("activation_fn", "relu", "topk")
    cfg.refuse("reshape_activations", "none", "hook_z")
    metadata = Configuration(cfg.source, cfg.require("metadata", dict))
    metadata.refuse("hook_head_index")
    metadata.refuse("hook_head_index_out")
    return cfg


def _modern(cfg: Configuration) -> dict[str, Any]:
    """An older, flat configuration in the terms of version 6."""
    fields = {_RENAMED.get(name, name): value for name, value in cfg.fields.items()}
    given = fields.get("activation_fn_kwargs") or {}
    if fields.get("activation_fn") == "topk" and given.get("k") is not None:
        fields["architecture"], fields["k"] = "topk", given["k"]
    normalization = fields.get("normalize_activations")
    if isinstance(normalization, bool):
        fields["normalize_activations"] = "expected_average_only_in" if normalization else "none"
    fields["metadata"] = {name: fields[name] for name in _METADATA if name in fields}
    return fields


def _drop_scaling_of_ones(tensors: Tensors) -> None:
    """SAELens wrote a factor for each feature for a while, also where it was 1."""
    factor = tensors.take_if_there("scaling_factor", None)
    if factor is not None and not mx.all(factor == 1).item():
        raise FeatureSetError(f"{tensors.source}: scaling_factor is not 1, which is not computed")


def _activation(
    architecture: str, cfg: Configuration, tensors: Tensors, norms: mx.array | None
) -> Activation:
    n_features = cfg.require("d_sae", int)
    if architecture == "standard":
        return Relu()
    if architecture == "jumprelu":
        return JumpRelu(tensors.take("threshold", n_features), rectified=True)
    if architecture == "gated":
        names = ("b_gate", "r_mag", "b_mag")
        return Gated(*(tensors.take(name, n_features) for name in names))
    if architecture == "topk":
        return TopK(cfg.count("k", n_features), scale=norms)
    if architecture == "abstopk":
        return AbsTopK(cfg.count("k", n_features), scale=norms)
    known = ", ".join(("standard", "jumprelu", "gated", "topk", "abstopk", *_TRANSCODERS))
    raise FeatureSetError(f"{cfg.source}: architecture {architecture!r} is none of {known}")


def _normalization(cfg: Configuration) -> Normalization | None:
    name = cfg.get("normalize_activations", str, "none")
    if name not in _NORMALIZATIONS:
        raise FeatureSetError(
            f"{cfg.source}: normalize_activations {name!r} is none of {', '.join(_NORMALIZATIONS)}"
        )
    return _NORMALIZATIONS[name]()


def _warnings(cfg: Configuration) -> tuple[str, ...]:
    if cfg.get("normalize_activations", str) != "expected_average_only_in":
        return ()
    return (
        "what it was trained on was scaled to a mean norm of sqrt(d_in), by a factor that its "
        "files do not contain (expected_average_only_in): the values are read unscaled, as "
        "SAELens reads them",
    )


def _places(cfg: Configuration, is_transcoder: bool) -> Places:
    metadata = Configuration(cfg.source, cfg.require("metadata", dict))
    name = metadata.require("hook_name", str)
    out = metadata.require("hook_name_out", str) if is_transcoder else None
    return Places.of_hooks(name, out)


# --- writing ---------------------------------------------------------------------------------


def _written(each: FeatureSet) -> tuple[dict[str, Any], dict[str, mx.array]]:
    encoder = each.encoder
    arrays = {
        "W_enc": mx.contiguous(encoder.weight.T),
        "W_dec": each.decoder,
        "b_dec": each.decoder_bias,
    }
    if encoder.bias is not None:
        arrays["b_enc"] = encoder.bias
    elif not isinstance(encoder.activation, Gated):
        arrays["b_enc"] = mx.zeros(each.n_features)
    cfg: dict[str, Any] = {
        "d_in": each.d_in,
        "d_sae": each.n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": encoder.input_bias is not None,
        "normalize_activations": _name_of_normalization(encoder.normalization),
        "reshape_activations": "hook_z" if each.reads.component == "head_output" else "none",
    }
    base = _write_activation(encoder.activation, cfg, arrays)
    cfg["architecture"] = base
    if each.is_transcoder:
        if base not in ("standard", "jumprelu"):
            raise FeatureSetError(f"SAELens has no {base} transcoder")
        words = ("jumprelu",) * (base == "jumprelu") + ("skip",) * (each.skip is not None)
        cfg["architecture"], cfg["d_out"] = "_".join((*words, "transcoder")), each.d_out
    if each.skip is not None:
        if not each.is_transcoder:
            raise FeatureSetError("SAELens has no autoencoder with a skip")
        arrays["W_skip"] = each.skip
    if each.decoder_scale is not None:
        cfg["rescale_acts_by_decoder_norm"] = True
    return cfg, arrays


def _write_activation(
    activation: Activation, cfg: dict[str, Any], arrays: dict[str, mx.array]
) -> str:
    if isinstance(activation, JumpRelu):
        arrays["threshold"] = activation.threshold
    elif isinstance(activation, Gated):
        arrays["b_gate"] = activation.gate_bias
        arrays["r_mag"] = activation.log_scale
        arrays["b_mag"] = activation.magnitude_bias
    elif isinstance(activation, TopK | AbsTopK):
        cfg["k"] = activation.k
    elif not isinstance(activation, Relu):
        raise FeatureSetError(f"SAELens has no architecture {activation.name}")
    return activation.name


def _name_of_normalization(normalization: Normalization | None) -> str:
    if normalization is None:
        return "none"
    return "layer_norm" if isinstance(normalization, LayerNorm) else "constant_norm_rescale"
