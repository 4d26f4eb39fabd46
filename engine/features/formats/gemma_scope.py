"""Gemma Scope: ``params.npz``, and Gemma Scope 2: ``params.safetensors`` or a file a layer.

The files say little of where they belong: it is in the folders' names.
"""

import json
import re
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from engine.components import ComponentType as C
from engine.errors import FeatureSetError
from engine.features.activations import JumpRelu
from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.encoder import Encoder
from engine.features.feature_set import FeatureSet
from engine.features.formats.configuration import Configuration
from engine.features.formats.tensors import Tensors, read_npz, read_safetensors, transposed
from engine.features.hook_names import point_of_module
from engine.features.places import Places
from engine.taps.points import Point

FIRST, SECOND, CONFIGURATION = "params.npz", "params.safetensors", "config.json"
LAYER = re.compile(r"layer_(\d+)(?:_|$)")
LAYER_FILE = re.compile(r"(?P<kind>\w*?_?)layer_(?P<layer>\d+)(?P<rest>_\w+)?\.safetensors")
_KINDS = {
    "transcoder": (C.MLP, True),
    "resid_post": (C.RESIDUAL, False),
    "res": (C.RESIDUAL, False),
    "mlp_out": (C.MLP, False),
    "mlp": (C.MLP, False),
    "attn_out": (C.HEAD_OUTPUT, False),
    "att": (C.HEAD_OUTPUT, False),
}
"""What is read, by a word in the path."""


def reads(folder: Path) -> bool:
    """Whether a folder is in this format."""
    return (folder / FIRST).is_file() or (folder / SECOND).is_file() or _is_cross_layer(folder)


def load(
    folder: Path, places: Places | None = None
) -> list[FeatureSet] | list[CrossLayerTranscoder]:
    """The set of a folder; `places` count more than what its path says.

    JumpReLU of ``x W_enc + b_enc`` without subtracting a bias, in float32. Raises FeatureSetError.
    """
    if (folder / FIRST).is_file():
        found = places or _places(folder, before_norm_weight=True)
        return [load_first(folder / FIRST, found)]
    if (folder / SECOND).is_file():
        return [_second(folder, places)]
    if places is not None:
        raise FeatureSetError(f"{folder}: the places of a cross-layer transcoder cannot be given")
    return [_cross_layer(folder)]


def load_first(path: Path, places: Places) -> FeatureSet:
    """The set of one ``params.npz``. Raises FeatureSetError."""
    return _set(path.parent, read_npz(path), places, "W_enc", "W_dec", {})


def save_first(feature_set: FeatureSet, folder: Path) -> None:
    """Write ``params.npz``; the folders' names are to say the layer and the place.

    Raises FeatureSetError for what Gemma Scope does not compute.
    """
    arrays = _arrays(feature_set)
    if feature_set.skip is not None:
        raise FeatureSetError("Gemma Scope's first files have no skip")
    folder.mkdir(parents=True, exist_ok=True)
    renamed = {name.replace("w_", "W_"): np.array(array) for name, array in arrays.items()}
    np.savez(folder / FIRST, **renamed)  # type: ignore[arg-type]


def save_second(feature_set: FeatureSet, folder: Path) -> None:
    """Write ``params.safetensors`` and ``config.json``. Raises FeatureSetError."""
    arrays = _arrays(feature_set)
    cfg: dict[str, Any] = {
        "architecture": "jump_relu",
        "width": feature_set.n_features,
        "hf_hook_point_in": _module(feature_set.reads),
        "hf_hook_point_out": _module(feature_set.writes),
        "affine_connection": feature_set.skip is not None,
    }
    if feature_set.skip is not None:
        arrays["affine_skip_connection"] = mx.contiguous(feature_set.skip.T)
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / SECOND), arrays)
    (folder / CONFIGURATION).write_text(json.dumps(cfg, indent=2), encoding="utf-8")


# --- reading ---------------------------------------------------------------------------------


def _second(folder: Path, places: Places | None) -> FeatureSet:
    tensors, metadata = read_safetensors(folder / SECOND), {}
    if (folder / CONFIGURATION).is_file():
        cfg = Configuration.of_json(folder / CONFIGURATION)
        cfg.refuse("architecture", "jump_relu")
        metadata = cfg.fields
        into, out = cfg.get("hf_hook_point_in", str), cfg.get("hf_hook_point_out", str)
        if places is None and into is not None:
            reads = point_of_module(into)
            places = Places(reads, reads if out is None else point_of_module(out))
    found = places or _places(folder, before_norm_weight=False)
    return _set(folder, tensors, found, "w_enc", "w_dec", metadata)


def _set(
    folder: Path, tensors: Tensors, places: Places, enc: str, dec: str, metadata: dict[str, Any]
) -> FeatureSet:
    weight = transposed(tensors.take(enc, None, None))
    n_features, d_in = weight.shape
    decoder = tensors.take(dec, n_features, None)
    d_out = decoder.shape[1]
    encoder = Encoder(
        weight,
        tensors.take("b_enc", n_features),
        JumpRelu(tensors.take("threshold", n_features), rectified=False),
    )
    affine = tensors.take_if_there("affine_skip_connection", d_in, d_out)
    bias = tensors.take("b_dec", d_out)
    tensors.check_all_taken("Gemma Scope")
    words = ("jumprelu",) + ("skip",) * (affine is not None)
    words += ("transcoder",) * (places.reads != places.writes)
    return FeatureSet(
        name="_".join(part for part in folder.parts[-3:] if part != folder.anchor),
        architecture="_".join(words),
        reads=places.reads,
        writes=places.writes,
        encoder=encoder,
        decoder=decoder,
        decoder_bias=bias,
        skip=None if affine is None else transposed(affine),
        reads_before_norm_weight=places.before_norm_weight,
        metadata=metadata,
    )


def _places(folder: Path, before_norm_weight: bool) -> Places:
    """Where a set belongs by the path to it. The first transcoders read before the norm's weight.

    Raises FeatureSetError if the path does not say it.
    """
    path = "/".join(folder.resolve().parts[-6:])
    layers = [match[1] for part in path.split("/") if (match := LAYER.match(part))]
    if "embedding" in path.split("/"):
        raise FeatureSetError(f"{folder}: sets of the embedding are scaled otherwise")
    kinds = [
        kind for kind in _KINDS if re.search(rf"(?:^|[/_-]){kind}(?:s|_all)?(?:[/_-]|$)", path)
    ]
    if not layers or not kinds:
        raise FeatureSetError(
            f"{folder}: neither its path (…-pt-res/layer_5/…) nor a config.json says which layer "
            "and which value it is of; give hook_name"
        )
    component, is_input = _KINDS[kinds[0]]
    reads = Point(int(layers[-1]), component, is_input)
    if not is_input:
        return Places(reads, reads)
    return Places(reads, Point(reads.layer, component), before_norm_weight)


# --- cross-layer -----------------------------------------------------------------------------


def _layer_files(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    found = ((LAYER_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match["layer"]): path for match, path in found if match}


def _is_cross_layer(folder: Path) -> bool:
    files = _layer_files(folder)
    is_other = (folder / "config.yaml").is_file()
    return bool(files) and not is_other and "clt" in "/".join(folder.resolve().parts[-3:])


def _cross_layer(folder: Path) -> CrossLayerTranscoder:
    files = _layer_files(folder)
    layers = len(files)
    if sorted(files) != list(range(layers)):
        raise FeatureSetError(f"{folder} has files of layers {sorted(files)}, not of each from 0")
    encoders, decoders, biases, skips = [], [], [], []
    for layer in range(layers):
        tensors = read_safetensors(files[layer])
        weight = transposed(tensors.take("w_enc", None, None))
        n_features, d_in = weight.shape
        threshold = JumpRelu(tensors.take("threshold", n_features), rectified=False)
        encoders.append(Encoder(weight, tensors.take("b_enc", n_features), threshold))
        decoder = tensors.take("w_dec", n_features, layers, d_in)
        if mx.any(decoder[:, :layer] != 0).item():
            raise FeatureSetError(f"{files[layer]}: features of layer {layer} write earlier layers")
        decoders.append(mx.contiguous(decoder[:, layer:]))
        biases.append(tensors.take("b_dec", d_in))
        skips.append(tensors.take_if_there("affine_skip_connection", d_in, d_in))
        tensors.check_all_taken("Gemma Scope 2")
        mx.eval(decoders[-1])
    some = [skip for skip in skips if skip is not None]
    if some and len(some) < layers:
        raise FeatureSetError(f"{folder}: some layers have a skip, and others have none")
    return CrossLayerTranscoder(
        name=folder.name,
        architecture="jumprelu_skip_cross_layer" if some else "jumprelu_cross_layer",
        reads=tuple(Point(layer, C.MLP, True) for layer in range(layers)),
        writes=tuple(Point(layer, C.MLP) for layer in range(layers)),
        encoders=tuple(encoders),
        decoders=tuple(decoders),
        decoder_bias=mx.stack(biases),
        skip=mx.stack([skip.T for skip in some]) if some else None,
    )


# --- writing ---------------------------------------------------------------------------------


def _arrays(each: FeatureSet) -> dict[str, mx.array]:
    encoder = each.encoder
    threshold = encoder.activation
    if not isinstance(threshold, JumpRelu) or encoder.bias is None:
        raise FeatureSetError(f"Gemma Scope does not compute {each.architecture}")
    if encoder.input_bias is not None or encoder.normalization is not None:
        raise FeatureSetError("Gemma Scope neither subtracts a bias from what it reads nor scales")
    return {
        "w_enc": mx.contiguous(encoder.weight.T),
        "w_dec": each.decoder,
        "b_enc": encoder.bias,
        "b_dec": each.decoder_bias,
        "threshold": threshold.threshold,
    }


def _module(point: Point) -> str:
    """The name that Gemma Scope 2 has for a point."""
    names = {
        (C.RESIDUAL, False): "output",
        (C.HEAD_OUTPUT, False): "self_attn.o_proj.input",
        (C.MLP, False): "post_feedforward_layernorm.output",
        (C.MLP, True): "pre_feedforward_layernorm.output",
    }
    name = names.get((point.component, point.is_input))
    if name is None or point.layer is None:
        raise FeatureSetError(f"Gemma Scope 2 has no name for {point.default_id}")
    return f"model.layers.{point.layer}.{name}"
