"""circuit-tracer's folders: ``config.yaml``, and a file a layer, or two of a cross-layer one."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import yaml

from engine.errors import FeatureSetError
from engine.features.activations import Activation, JumpRelu, Relu, TopK
from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.encoder import Encoder
from engine.features.feature_set import FeatureSet
from engine.features.formats import gemma_scope
from engine.features.formats.configuration import Configuration
from engine.features.formats.tensors import Tensors, read_safetensors
from engine.features.hook_names import hook_of_point
from engine.features.places import Places

CONFIGURATION = "config.yaml"
SET, CROSS_LAYER = "transcoder_set", "cross_layer_transcoder"
_LAYER = re.compile(r"layer_(\d+)\.safetensors")
_ENCODER = re.compile(r"W_enc_(\d+)\.safetensors")


def reads(folder: Path) -> bool:
    """Whether a folder is in this format."""
    return (folder / CONFIGURATION).is_file()


def load(
    folder: Path, places: Places | None = None
) -> list[FeatureSet] | list[CrossLayerTranscoder]:
    """The transcoders of a folder, one a layer, or the one that crosses layers.

    Features are zeroed nowhere: circuit-tracer leaves out those at the first position. Raises
    FeatureSetError.
    """
    cfg = Configuration.of_yaml(folder / CONFIGURATION)
    if places is not None:
        raise FeatureSetError(f"{folder}: the places of transcoders of all layers cannot be given")
    kind = cfg.require("model_kind", str)
    if kind == CROSS_LAYER:
        return [_cross_layer(folder, cfg)]
    if kind == SET:
        return [_of_layer(path, layer, cfg) for layer, path in enumerate(_files(folder, cfg))]
    raise FeatureSetError(f"{cfg.source}: model_kind {kind!r} is neither {SET} nor {CROSS_LAYER}")


def save(
    transcoders: Sequence[FeatureSet] | CrossLayerTranscoder, folder: Path, **metadata: Any
) -> None:
    """Write transcoders of each layer from 0, or one that crosses them, with more metadata such
    as ``model_name``. Raises FeatureSetError for what circuit-tracer does not compute."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(transcoders, CrossLayerTranscoder):
        first = (transcoders.reads[0], transcoders.writes[0])
        before, kind = transcoders.reads_before_norm_weight, CROSS_LAYER
        _write_cross_layer(transcoders, folder)
    else:
        first = (transcoders[0].reads, transcoders[0].writes)
        before, kind = transcoders[0].reads_before_norm_weight, SET
        for layer, each in enumerate(transcoders):
            mx.save_safetensors(str(folder / f"layer_{layer}.safetensors"), _arrays(each))
    cfg = {
        "model_kind": kind,
        "feature_input_hook": hook_of_point(first[0], before).removeprefix("blocks.0."),
        "feature_output_hook": hook_of_point(first[1]).removeprefix("blocks.0."),
        **_written_activation(transcoders),
        **metadata,
    }
    (folder / CONFIGURATION).write_text(yaml.safe_dump(cfg), encoding="utf-8")


# --- a transcoder a layer --------------------------------------------------------------------


def _files(folder: Path, cfg: Configuration) -> list[Path]:
    """The file of each layer from 0: those that the configuration names, or those that are there.

    Paths of a hub are looked for in the folder by what follows the repository.
    """
    named = cfg.get("transcoders", list)
    if named is not None:
        paths = [folder / _inside(str(name)) for name in named]
    else:
        found = (_LAYER.fullmatch(path.name) for path in folder.iterdir())
        layers = sorted(int(match[1]) for match in found if match)
        if not layers or layers != list(range(len(layers))):
            raise FeatureSetError(f"{folder} has files of layers {layers}, not of each from 0")
        paths = [folder / f"layer_{layer}.safetensors" for layer in layers]
    for path in paths:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise FeatureSetError(f"{cfg.source} names {path}, which is outside of its folder")
        if not path.is_file():
            raise FeatureSetError(f"{cfg.source} names {path}, which is not there")
    return paths


def _inside(name: str) -> str:
    if not name.startswith("hf://"):
        return name
    return "/".join(name.removeprefix("hf://").split("/")[2:]).split("@")[0]


def _of_layer(path: Path, layer: int, cfg: Configuration) -> FeatureSet:
    if path.suffix == ".npz":
        return gemma_scope.load_first(path, _places(cfg, layer))
    tensors = read_safetensors(path)
    weight = tensors.take("W_enc", None, None)
    n_features, d_in = weight.shape
    decoder = tensors.take("W_dec", n_features, None)
    d_out = decoder.shape[1]
    threshold = tensors.take_if_there("activation_function.threshold", n_features)
    encoder = Encoder(
        weight, tensors.take("b_enc", n_features), _activation(cfg, threshold, n_features)
    )
    bias = tensors.take("b_dec", d_out)
    skip = tensors.take_if_there("W_skip", d_out, d_in)
    tensors.check_all_taken("what circuit-tracer computes")
    places = _places(cfg, layer)
    words = (encoder.activation.name,) * (not isinstance(encoder.activation, Relu))
    words += ("skip",) * (skip is not None)
    return FeatureSet(
        name=path.stem,
        architecture="_".join((*words, "transcoder")),
        reads=places.reads,
        writes=places.writes,
        encoder=encoder,
        decoder=decoder,
        decoder_bias=bias,
        skip=skip,
        reads_before_norm_weight=places.before_norm_weight,
        metadata=cfg.fields,
    )


def _activation(cfg: Configuration, threshold: mx.array | None, n_features: int) -> Activation:
    name = cfg.get("activation", str, "relu" if threshold is None else "jump_relu")
    if (threshold is not None) is not (name in ("jump_relu", "jumprelu")):
        there = "no thresholds" if threshold is None else "thresholds"
        raise FeatureSetError(f"{cfg.source}: activation {name!r}, and the files have {there}")
    if threshold is not None:
        return JumpRelu(threshold, rectified=False)
    if name == "topk":
        return TopK(cfg.count("k", n_features), rectified=False)
    if name != "relu":
        raise FeatureSetError(f"{cfg.source}: activation {name!r} is none of relu, jump_relu, topk")
    return Relu()


def _places(cfg: Configuration, layer: int) -> Places:
    reads = cfg.require("feature_input_hook", str)
    writes = cfg.require("feature_output_hook", str)
    return Places.of_hooks(f"blocks.{layer}.{reads}", f"blocks.{layer}.{writes}")


# --- cross-layer -----------------------------------------------------------------------------


def _cross_layer(folder: Path, cfg: Configuration) -> CrossLayerTranscoder:
    found = (_ENCODER.fullmatch(path.name) for path in folder.iterdir())
    numbers = sorted(int(match[1]) for match in found if match)
    layers = len(numbers)
    if not layers or numbers != list(range(layers)):
        raise FeatureSetError(f"{folder} has encoders of layers {numbers}, not of each from 0")
    encoders, decoders, biases = [], [], []
    n_features = d_model = None
    for n in range(layers):
        tensors = read_safetensors(folder / f"W_enc_{n}.safetensors")
        weight = tensors.take(f"W_enc_{n}", n_features, d_model)
        n_features, d_model = weight.shape
        threshold = tensors.take_if_there(f"threshold_{n}", n_features)
        activation = _activation(cfg, threshold, n_features)
        encoders.append(Encoder(weight, tensors.take(f"b_enc_{n}", n_features), activation))
        biases.append(tensors.take(f"b_dec_{n}", d_model))
        tensors.check_all_taken("a cross-layer transcoder")
        decoders.append(_decoder(folder, n, n_features, layers - n, d_model))
    places = [_places(cfg, n) for n in range(layers)]
    words = (encoders[0].activation.name,) * (not isinstance(encoders[0].activation, Relu))
    return CrossLayerTranscoder(
        name=folder.name,
        architecture="_".join((*words, "cross_layer")),
        reads=tuple(each.reads for each in places),
        writes=tuple(each.writes for each in places),
        encoders=tuple(encoders),
        decoders=tuple(decoders),
        decoder_bias=mx.stack(biases),
        reads_before_norm_weight=places[0].before_norm_weight,
        metadata=cfg.fields,
    )


def _decoder(folder: Path, n: int, *shape: int) -> mx.array:
    tensors: Tensors = read_safetensors(folder / f"W_dec_{n}.safetensors")
    decoder = tensors.take(f"W_dec_{n}", *shape)
    tensors.check_all_taken("a cross-layer transcoder's decoder")
    return decoder


# --- writing ---------------------------------------------------------------------------------


def _written_activation(
    transcoders: Sequence[FeatureSet] | CrossLayerTranscoder,
) -> dict[str, Any]:
    if isinstance(transcoders, CrossLayerTranscoder):
        activation = transcoders.encoders[0].activation
    else:
        activation = transcoders[0].encoder.activation
    return {"activation": "topk", "k": activation.k} if isinstance(activation, TopK) else {}


def _arrays(each: FeatureSet) -> dict[str, mx.array]:
    arrays = {
        "W_enc": each.encoder.weight,
        "W_dec": each.decoder,
        "b_dec": each.decoder_bias,
        **_encoder_arrays(each.encoder, "b_enc", "activation_function.threshold"),
    }
    if each.skip is not None:
        arrays["W_skip"] = each.skip
    if each.decoder_scale is not None or each.normalization_out is not None:
        raise FeatureSetError(f"circuit-tracer does not compute {each.architecture}")
    return arrays


def _encoder_arrays(encoder: Encoder, bias: str, threshold: str) -> dict[str, mx.array]:
    activation = encoder.activation
    if encoder.input_bias is not None or encoder.normalization is not None:
        raise FeatureSetError("circuit-tracer neither subtracts a bias nor scales what it reads")
    if not isinstance(activation, Relu | JumpRelu | TopK):
        raise FeatureSetError(f"circuit-tracer does not compute {activation.name}")
    arrays = {bias: mx.zeros(encoder.weight.shape[0]) if encoder.bias is None else encoder.bias}
    if isinstance(activation, JumpRelu):
        arrays[threshold] = activation.threshold
    return arrays


def _write_cross_layer(each: CrossLayerTranscoder, folder: Path) -> None:
    if each.skip is not None:
        raise FeatureSetError("circuit-tracer's files of a cross-layer transcoder have no skip")
    for n, (encoder, decoder) in enumerate(zip(each.encoders, each.decoders, strict=True)):
        arrays = {
            f"W_enc_{n}": encoder.weight,
            f"b_dec_{n}": each.decoder_bias[n],
            **_encoder_arrays(encoder, f"b_enc_{n}", f"threshold_{n}"),
        }
        mx.save_safetensors(str(folder / f"W_enc_{n}.safetensors"), arrays)
        mx.save_safetensors(str(folder / f"W_dec_{n}.safetensors"), {f"W_dec_{n}": decoder})
