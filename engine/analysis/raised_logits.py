"""Which tokens a direction in the residual stream promotes.

Taken through the final norm's weights and the unembedding, without the division by the stream's own
size that differs from token to token, a direction says how much it raises each token's logit
(Geva et al. 2022, arXiv:2203.14680).
"""

import mlx.core as mx
import numpy as np

from engine.components import ComponentType as C
from engine.runs.kit import ModelKit
from engine.taps.observation import observed
from engine.taps.points import Point, Visitors

NORM_INPUT, NORM = Point(None, C.FINAL_NORM, True), Point(None, C.FINAL_NORM)
LARGE = 100.0
"""Root mean square beside which no norm's epsilon counts."""
SMALL = 0.01
"""Norm of what is unembedded: so small that a soft cap of the logits is linear."""


def raised_logits(kit: ModelKit, directions: np.ndarray) -> np.ndarray:
    """How much each direction ``[n, hidden]`` adds to each token's logit, ``[n, vocab]`` in
    float32, where the residual stream's root mean square (its deviation, if the final norm centres)
    is 1.

    A token that the model masks, whose logit is always -inf, gets 0.
    """
    sizes = np.sqrt(np.square(directions).mean(-1, keepdims=True))
    units = np.divide(directions, sizes, out=np.zeros_like(directions), where=sizes > 0)
    width = directions.shape[-1]
    ends = np.stack([np.zeros(width, np.float32), np.ones(width, np.float32)])
    *normed, shift, constant = passed(kit, NORM_INPUT, np.concatenate([units, ends]) * LARGE, NORM)
    if np.allclose(constant, shift, atol=1e-3):  # it centres
        sizes = directions.std(-1, keepdims=True)
    weighted = (np.stack(normed) - shift) * sizes
    lengths = np.linalg.norm(weighted, axis=-1, keepdims=True) / SMALL
    short = np.divide(weighted, lengths, out=np.zeros_like(weighted), where=lengths > 0)
    *logits, bias = passed(kit, NORM, np.concatenate([short, 0 * ends[:1]]), None)
    finite = np.isfinite(bias)
    raised = np.subtract(
        logits, bias, out=np.zeros((len(short), len(bias)), np.float32), where=finite
    )
    return raised * lengths


def passed(kit: ModelKit, into: Point, value: np.ndarray, out: Point | None) -> np.ndarray:
    """What a pass has at `out` (None: its logits) if it has ``[rows, hidden]`` at `into`.

    MLX evaluates nothing that lies below.
    """
    seen: list[mx.array] = []

    def keep(value: mx.array, span) -> mx.array:
        seen.append(value)
        return value

    visitors: Visitors = {into: lambda _, span: mx.array(value)[None]}
    if out is not None:
        visitors = {**visitors, out: keep}
    with observed(kit.structure, visitors):
        logits = kit.structure.logits(mx.zeros((1, len(value)), dtype=mx.int32))
    result = logits if out is None else seen[-1]
    return np.array(result[0].astype(mx.float32))
