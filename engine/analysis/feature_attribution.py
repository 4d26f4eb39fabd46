"""Direct logit attribution by sparse features: what a set's features add to a value, taken apart.

What a set reconstructs is linear in its features, so that a value's share of a logit is the sum of
what each feature adds, of the biases behind them, and of what the set does not reconstruct.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import mlx.core as mx
import numpy as np

from engine.components import ComponentType as C
from engine.errors import InvalidRequestError
from engine.features.bound import BoundSet
from engine.features.feature_set import FeatureSet
from engine.features.hooks import FeatureHookSpec
from engine.runs.forward import run_forward
from engine.runs.kit import ModelKit
from engine.taps.points import Point

SUMMANDS = (C.RESIDUAL, C.ATTENTION, C.MLP)
"""Components whose outputs are sums in the stream, or what is added to it."""


@dataclass(frozen=True, eq=False)
class FeatureShares:
    """What one set adds to the value that it writes, ``[hidden]``, at one position.

    `directions` ``[n, hidden]`` are of the features that are on there, `indices` ``[n]`` their
    numbers; `others` is what the reconstruction has beside them: biases, a skip connection.
    """

    set_id: str
    indices: np.ndarray
    directions: mx.array
    others: mx.array
    reconstruction: mx.array


def written_by(sets: Sequence[BoundSet]) -> dict[Point, BoundSet]:
    """Each set by the point that it writes. Raises InvalidRequestError for sets whose features are
    no terms of the stream's sum, or are so twice."""
    if not sets:
        raise InvalidRequestError("by feature: name at least one feature set")
    found: dict[Point, BoundSet] = {}
    for bound in sets:
        if not isinstance(bound.feature_set, FeatureSet):
            raise InvalidRequestError(
                f"{bound.set_id} writes several layers: an attribution graph tells what it adds"
            )
        point = bound.feature_set.writes
        if point.component not in SUMMANDS or point.is_input:
            raise InvalidRequestError(
                f"{bound.set_id} writes {point.default_id}, which is no term of the residual "
                f"stream's sum; those are outputs of {', '.join(SUMMANDS)}"
            )
        if point in found:
            raise InvalidRequestError(
                f"{bound.set_id} and {found[point].set_id} both write {point.default_id}"
            )
        found[point] = bound
    _check_apart(found)
    return found


def feature_shares(
    kit: ModelKit, tokens: Sequence[int], sets: Mapping[Point, BoundSet]
) -> dict[Point, FeatureShares]:
    """What the features of each set add at the last token; costs one forward pass."""
    hooks = [
        replace(hook, encode=None)
        for bound in sets.values()
        for hook in FeatureHookSpec(bound, positions=(-1,)).resolved(kit.structure)
    ]
    captured = run_forward(kit, [tokens], hooks, logits="none").activations
    return {
        point: _shares(bound, mx.array(captured[bound.set_id][-1].data))
        for point, bound in sets.items()
    }


def _shares(bound: BoundSet, value: mx.array) -> FeatureShares:
    each = bound.feature_set
    assert isinstance(each, FeatureSet), "checked as the sets were named"
    read = bound.layers[0].reads.flat(value)[0, 0]
    features = each.encode(read)
    indices = np.flatnonzero(np.array(features))
    chosen = mx.array(indices.astype(np.int32))
    directions = each.decoder_rows(chosen) * features[chosen][:, None]
    if each.normalization_out is not None:
        directions = directions * each.normalization_out.scale(read)
    others = each.decode(mx.zeros_like(features), read)
    return FeatureShares(bound.set_id, indices, directions, others, each.decode(features, read))


def _check_apart(sets: Mapping[Point, BoundSet]) -> None:
    """Raise InvalidRequestError for a set inside what another one reconstructs."""
    streams = [point for point in sets if point.component is C.RESIDUAL]
    for stream in streams:
        inside = [p for p in sets if p != stream and p.in_layer <= stream.in_layer]
        if inside:
            raise InvalidRequestError(
                f"{sets[stream].set_id} reconstructs the stream after layer {stream.layer}, in "
                f"which what {sets[inside[0]].set_id} writes is contained: name one of them"
            )
