"""Where mlx-lm reads a model folder in another way than its author wrote it, put right at load.

Newer folders nest what concerns rotation under `rope_parameters`, of which many architectures of
mlx-lm know nothing: they would rotate by their own default, and say nothing. What was corrected is
listed, and what changes what the model computes is logged too.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models import gpt2, gpt_oss
from mlx_lm.models.base import create_attention_mask
from mlx_lm.models.rope_utils import YarnRoPE
from mlx_lm.utils import _get_classes, load_config

from engine.models.masks import correct_masks
from engine.models.weight_files import Weights, as_stored, read_model

RENAMED = {
    "num_experts": "num_local_experts",
    "n_ctx": "n_positions",
    "sliding_window_pattern": "_sliding_window_pattern",
}
"""What mlx-lm reads, and what transformers 5 writes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Correction:
    """What was corrected in a model as it was loaded, and why."""

    name: str
    reason: str


def load_corrected(
    folder: Path, prepare: Callable[[Weights, dict[str, Any]], Weights] = as_stored
) -> tuple[nn.Module, dict[str, Any], tuple[Correction, ...]]:
    """A folder's model, weights not read yet, its configuration, and what was corrected.

    `prepare` changes the weights as they are stored, as in `read_model`.
    """
    written = load_config(folder)
    corrected = correct_config(written)
    applied = list(_renamed(written, corrected))

    def classes(config: dict[str, Any]) -> tuple[type[nn.Module], type]:
        model, args = _get_classes(config)
        corrected = {gpt2.Model: Gpt2, gpt_oss.Model: GptOss}.get(model, model)
        return corrected, args

    model, config = read_model(folder, corrected, classes, prepare)
    applied += getattr(model, "corrections", ())
    scaling = config.get("rope_scaling") or {}
    if scaling.get("truncate") is False:
        applied.append(_do_not_truncate(model, config["rope_theta"], scaling))
    applied += _slide(model, config)
    if reason := correct_masks(model, config["model_type"]):
        applied.append(_logged("masks", reason))
    return model, config, tuple(applied)


def _renamed(written: dict[str, Any], corrected: dict[str, Any]) -> Iterator[Correction]:
    """What the configuration says in mlx-lm's words that it did not say in them before."""
    for name, value in corrected.items():
        if name == "text_config":
            yield from _renamed(written[name], value)
        elif written.get(name) != value:
            yield Correction(
                "configuration",
                f"{name} is {value}, which the configuration says under a name that mlx-lm does "
                "not read in every architecture",
            )


def correct_config(config: dict[str, Any]) -> dict[str, Any]:
    """The same configuration, said in mlx-lm's words too; what it says already stays."""
    config = dict(config)
    for known, written in RENAMED.items():
        if written in config:
            config.setdefault(known, config[written])
    if rope := config.get("rope_parameters"):
        _spread(config, rope)
    if "text_config" in config:
        config["text_config"] = correct_config(config["text_config"])
    return config


def _spread(config: dict[str, Any], rope: dict[str, Any]) -> None:
    """Say what `rope_parameters` hold under the older names."""
    if "sliding_attention" in rope:
        config.setdefault("rope_local_base_freq", rope["sliding_attention"]["rope_theta"])
    rope = rope.get("full_attention", rope)
    for name in ("rope_theta", "partial_rotary_factor"):
        if name in rope:
            config.setdefault(name, rope[name])
    kind = rope.get("rope_type", "default")
    if kind != "default" and not config.get("rope_scaling"):
        config["rope_scaling"] = {"type": kind, **rope}


class Gpt2(gpt2.Model):
    """GPT-2 that also loads from the names that transformers gives the weights."""

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        if any(name.startswith("transformer.") for name in weights):
            reason = "the weights are under transformer., where mlx-lm does not look for them"
            self.corrections = (Correction("weight_names", reason),)
        return super().sanitize({n.removeprefix("transformer."): w for n, w in weights.items()})


class GptOss(gpt_oss.Model):
    """gpt-oss that also loads experts which are not quantised."""

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        named = dict(_by_output(*item) for item in weights.items())
        if named.keys() != weights.keys():
            reason = "the experts are not quantised: mlx-lm expects their outputs before inputs"
            self.corrections = (Correction("expert_weights", reason),)
        return super().sanitize(named)


def _by_output(name: str, weight: mx.array) -> tuple[str, mx.array]:
    """An expert's weight with its outputs before its inputs, as mlx-lm's layers want it."""
    if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
        return f"{name}.weight", weight.swapaxes(-1, -2)
    return name, weight


SLIDING_EVERYWHERE = frozenset({"mistral", "mixtral", "phi3", "phimoe", "starcoder2"})
SLIDING_EVERY_OTHER = frozenset({"gemma2"})
"""Model types of which some layers, or all, slide as `sliding_window` says, unread by mlx-lm."""


def _slide(model: nn.Module, config: dict[str, Any]) -> list[Correction]:
    """Have each token attend to as many tokens as the model was trained to."""
    window, kind = config.get("sliding_window"), config["model_type"]
    if not window or window >= config.get("max_position_embeddings", math.inf):
        return []
    if kind not in SLIDING_EVERYWHERE | SLIDING_EVERY_OTHER:
        return []
    for block in model.layers[:: 2 if kind in SLIDING_EVERY_OTHER else 1]:
        block.window = window
        kind_of_block: type[nn.Module] = type(block)
        block.__class__ = _sliding(kind_of_block)
    reason = f"attention slides over {window} tokens here, which mlx-lm does not read"
    return [_logged("sliding_window", reason)]


@cache
def _sliding(block: type[nn.Module]) -> type[nn.Module]:
    """The class of a block, of which each token attends to the last `window` only."""
    methods = {"attend_to_all": block.__call__, "__call__": _attend_to_window}
    return type(block.__name__, (block,), methods | {"__module__": block.__module__})


def _attend_to_window(
    self: nn.Module, x: mx.array, mask: Any = None, cache: Any = None
) -> mx.array:
    if x.shape[1] + getattr(cache, "offset", 0) > self.window:
        mask = create_attention_mask(x, cache, window_size=self.window, return_array=True)
    return self.attend_to_all(x, mask, cache)


def _do_not_truncate(model: nn.Module, base: float, scaling: dict[str, Any]) -> Correction:
    rotations = [module for module in model.modules() if isinstance(module, YarnRoPE)]
    for rotation in rotations:
        rotation._freqs = yarn_wavelengths(rotation.dims, base, scaling)
    return _logged(
        "yarn",
        f"{len(rotations)} rotations rebuilt: this model's YaRN does not truncate, which mlx-lm "
        "does not read",
    )


def _logged(name: str, reason: str) -> Correction:
    """A correction that changes what the model computes."""
    logger.warning("%s", reason)
    return Correction(name, reason)


def yarn_wavelengths(dims: int, base: float, scaling: dict[str, Any]) -> mx.array:
    """Wavelengths over 2π of `dims` rotated dimensions, bounds of the ramp not rounded.

    YaRN: Peng et al. 2023, arXiv:2309.00071, section 3.2.
    """

    def dimension_of(turns: float) -> float:
        length = scaling["original_max_position_embeddings"]
        return dims * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(dimension_of(scaling.get("beta_fast", 32)), 0)
    high = min(dimension_of(scaling.get("beta_slow", 1)), dims - 1)
    ramp = mx.clip((mx.arange(dims // 2) - low) / max(high - low, 1e-3), 0, 1)
    original = base ** (mx.arange(0, dims, 2) / dims)
    stretched = scaling["factor"] * original
    return 1 / (ramp / stretched + (1 - ramp) / original)
