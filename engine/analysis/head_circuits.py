"""What a head reads and writes, in tokens: its whole OV and QK circuits over the vocabulary.

The OV circuit says how much a token that the head attends to raises each token's logit, ``W_E W_V
W_O W_U``; the QK circuit how much a token attends to each token, ``W_E W_Q W_K.T W_E.T`` (Elhage et
al. 2021, transformer-circuits.pub/2021/framework). Both are of rank d_head, and are never built:
what is asked is read from their factors. The weights of the norm before attention and of the final
norm are folded in, their scales are not.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import mlx.core as mx
import numpy as np

from engine.analysis.raised_logits import LARGE, NORM, NORM_INPUT, passed
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError
from engine.runs.kit import ModelKit
from engine.taps.points import Point

Circuit = Literal["OV", "QK"]


@dataclass(frozen=True)
class HeadCircuit:
    """A circuit as ``left @ right``, ``[vocab, d_head]`` and ``[d_head, vocab]`` in float32.

    A row is of the token that is attended to (OV) or that attends (QK); a column of the token whose
    logit is raised, or that is attended to. `notes` say what the model does beside.
    """

    left: mx.array
    right: mx.array
    notes: tuple[str, ...]

    def row(self, token: int) -> np.ndarray:
        """What the circuit makes of a token, ``[vocab]``."""
        return np.array(self.left[token] @ self.right)

    @cached_property
    def diagonal(self) -> np.ndarray:
        """What it makes of each token for the token itself, ``[vocab]``: copying, of OV."""
        return np.array((self.left * self.right.T).sum(-1))

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """The d_head eigenvalues that are not zero, complex, the largest first."""
        values = np.linalg.eigvals(np.array(self.right @ self.left).astype(np.float64))
        return values[np.argsort(-np.abs(values), kind="stable")]

    @property
    def score(self) -> float:
        """The sum of the eigenvalues over that of their sizes, from -1 to 1: near 1 a head copies
        what it attends to (OV), or attends to what is like the token that attends (QK)."""
        size = np.abs(self.eigenvalues).sum()
        return float(self.eigenvalues.sum().real / size) if size else 0.0


def head_circuit(
    kit: ModelKit, layer: int, head: int, circuit: Circuit, most_bytes: int | None = None
) -> HeadCircuit:
    """The circuit of a head, from 0. Rotation and the scale of the scores are left out of QK.

    Raises UnknownLayerError, UnknownHeadError, UnknownWeightError for a model whose weights are not
    those of a circuit, WeightTooLargeError for an embedding of more than `most_bytes`,
    InvalidRequestError for another circuit.
    """
    if circuit not in ("OV", "QK"):
        raise InvalidRequestError(f"circuit: {circuit!r} is none of OV, QK")
    weights = kit.weights
    factors = weights.read(circuit, layer=layer, head=head, most_bytes=most_bytes)
    first, second = (mx.array(factors.arrays[name]) for name in "AB")
    names = ("W_V", "W_O") if circuit == "OV" else ("W_Q", "W_K")
    notes = {note for name in names for note in weights[name, layer].notes}
    embedded = mx.array(weights.read("W_E", most_bytes=most_bytes).arrays["W_E"])
    entry = Point(layer - 1, C.RESIDUAL) if layer else Point(None, C.EMBEDDING)
    before = Point(layer, C.LAYERNORM)
    if before in kit.structure.shapes:
        embedded = _norm(kit, entry, before)(embedded)
    left = embedded @ first
    if circuit == "QK":
        return HeadCircuit(left, second @ embedded.T, tuple(sorted(notes)))
    notes |= set(weights["W_U", None].notes)
    unembedding = mx.array(weights.read("W_U", most_bytes=most_bytes).arrays["W_U"])
    final = _norm(kit, NORM_INPUT, NORM)
    return HeadCircuit(left, final(second) @ unembedding, tuple(sorted(notes)))


@dataclass(frozen=True)
class _Norm:
    """A norm without its scale: its weights ``[hidden]``, and whether it subtracts the mean."""

    weights: mx.array
    centres: bool

    def __call__(self, rows: mx.array) -> mx.array:
        if self.centres:
            rows = rows - rows.mean(-1, keepdims=True)
        return rows * self.weights


def _norm(kit: ModelKit, into: Point, out: Point) -> _Norm:
    """The norm between two points, measured: no architecture is asked for its weights."""
    signs = np.where(np.arange(kit.structure.hidden_size) % 2, -1.0, 1.0)
    rows = np.stack([signs, np.ones_like(signs), np.zeros_like(signs)]) * LARGE
    of_signs, of_ones, shift = passed(kit, into, rows.astype(np.float32), out)
    centres = bool(np.allclose(of_ones, shift, atol=1e-3))
    given = signs - signs.mean() if centres else signs
    scale = given / np.sqrt(np.square(given).mean())
    return _Norm(mx.array(((of_signs - shift) / scale).astype(np.float32)), centres)
