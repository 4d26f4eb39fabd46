"""Adapters: fine-tuned changes of a model, in a folder of their own, merged into its weights.

A merged weight is the one that the adapter's formula gives, computed in float32; a quantised layer
that is adapted becomes a plain one. So everything that looks at weights, and every hook point, sees
the adapted model.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mlx.nn as nn
from safetensors import safe_open

from engine.errors import ModelNotFoundError
from engine.models.weight_files import Weights


@dataclass(frozen=True)
class Adapter(ABC):
    """An adapter that was read from its folder.

    `name` is its folder's, `kind` is ``lora``, ``dora`` or ``full``, `modules` are the layers that
    it changes. `rank` and `scale`, by which the product of the two factors is multiplied, are
    None where they differ from layer to layer, and of the kind ``full``.
    """

    name: str
    kind: Literal["lora", "dora", "full"]
    modules: tuple[str, ...]
    rank: int | None
    scale: float | None

    @property
    @abstractmethod
    def format(self) -> Literal["mlx-lm", "peft"]:
        """Whose format the folder has: ``mlx-lm`` or ``peft``."""

    def prepare(self, weights: Weights, config: dict[str, Any], rounded: bool) -> Weights:
        """Return the weights as they are stored, changed; `rounded` to the types they had."""
        return weights

    def merge(self, model: nn.Module, rounded: bool) -> None:  # noqa: B027
        """Change the weights of the model, once it has them; `rounded` to the types they had."""


def tensor_names(folder: Path, file: str) -> tuple[str, ...]:
    """The names of the tensors in an adapter's file. Raises ModelNotFoundError."""
    if not (folder / file).is_file():
        raise ModelNotFoundError(f"{folder} is not a whole adapter: {file} is missing")
    with safe_open(folder / file, "numpy") as tensors:
        return tuple(sorted(tensors.keys()))
