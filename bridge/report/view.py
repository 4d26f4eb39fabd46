"""What is seen of one prompt's pass through a model, and the file that keeps it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bridge.errors import BridgeError

FORMAT = "neuroscope-view-1"
TEXT = ("model", "tokens", "texts", "lens", "circuit", "saliency")


class ViewFileError(BridgeError):
    """A file that is not a saved view."""


@dataclass(frozen=True)
class LensToken:
    """A token that a layer would predict, and its probability there."""

    text: str
    probability: float


@dataclass(frozen=True)
class CircuitHead:
    """A head that matters to a task.

    `effect` is that of activation patching; `position` is where its output matters most, by
    attribution patching; `source` is where it looks from there most.
    """

    layer: int
    head: int
    effect: float
    position: int
    source: int
    attention: float


@dataclass(frozen=True)
class CircuitEdge:
    """What a part writes and another reads, and how the score changes with it patched."""

    source: str
    destination: str
    score: float


@dataclass(frozen=True)
class Saliency:
    """How much each token matters to a target, in words, by the gradient at its embedding."""

    target: str
    gradient_x_input: list[float]
    norm: list[float]


@dataclass(frozen=True)
class Circuit:
    """The heads that matter to the difference between two prompts, the most important first, and
    the strongest edges; these are empty where a model's edges cannot be told apart.

    `faithfulness` is the share of the difference that these edges restore by themselves, and
    `random_faithfulness` what random ones of as many do.
    """

    corrupted: list[str]
    answer: str
    distractor: str
    clean_score: float
    corrupted_score: float
    heads: list[CircuitHead]
    edges: list[CircuitEdge]
    faithfulness: float
    random_faithfulness: float


@dataclass(frozen=True, eq=False)
class View:
    """One prompt's pass.

    `patterns` are ``[heads, query, key]`` by layer; `norms` the Euclidean norms of the residual
    stream, ``[1 + layers, seq]``, the first row the embedding's; `lens` lists, by layer and
    position, the likeliest next tokens; `saliency` is None where there are no gradients.
    """

    model: str
    tokens: list[int]
    texts: list[str]
    patterns: dict[int, np.ndarray]
    norms: np.ndarray
    lens: dict[int, list[list[LensToken]]]
    circuit: Circuit | None
    saliency: Saliency | None

    def save(self, path: Path) -> None:
        """Write a safetensors file: the arrays as tensors, all else as its metadata."""
        text = {name: json.dumps(getattr(self, name), default=asdict) for name in TEXT}
        patterns = {f"pattern.{layer}": array for layer, array in self.patterns.items()}
        save_file({"norms": self.norms, **patterns}, path, {"format": FORMAT, **text})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises ViewFileError."""
        try:
            with safe_open(path, framework="numpy") as file:
                text = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ViewFileError(f"{path}: {error}") from error
        if text.get("format") != FORMAT:
            raise ViewFileError(f"{path} is no saved view: its format is not {FORMAT}")
        plain = {name: json.loads(text[name]) for name in TEXT}
        plain["lens"] = {
            int(layer): [[LensToken(**token) for token in top] for top in positions]
            for layer, positions in plain["lens"].items()
        }
        if plain["circuit"]:
            heads = [CircuitHead(**head) for head in plain["circuit"].pop("heads")]
            edges = [CircuitEdge(**edge) for edge in plain["circuit"].pop("edges")]
            plain["circuit"] = Circuit(heads=heads, edges=edges, **plain["circuit"])
        if plain["saliency"]:
            plain["saliency"] = Saliency(**plain["saliency"])
        norms = tensors.pop("norms")
        patterns = {int(name.removeprefix("pattern.")): a for name, a in tensors.items()}
        return cls(patterns=dict(sorted(patterns.items())), norms=norms, **plain)
