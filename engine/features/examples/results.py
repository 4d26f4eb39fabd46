"""What a search has found of each feature, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.analysis.raised_logits import raised_logits
from engine.components import ComponentType as C
from engine.features.bound import BoundLayer
from engine.features.examples.search import ExampleSearch
from engine.features.examples.tally import EDGES, NOTHING
from engine.runs.kit import ModelKit

IN_STREAM = frozenset({C.EMBEDDING, C.RESIDUAL, C.RESIDUAL_MID, C.ATTENTION, C.MLP})
"""Components whose values are the residual stream, or are added to it."""
AT_ONCE = 64
"""Directions that are unembedded at once."""


@dataclass(frozen=True)
class Example:
    """A stretch of text: its `tokens`, and the feature's activation at each.

    `position` is that of the largest one, whose `value` it is. The text is in document `document`,
    the byte of `file` at which it begins, and the token there is number `token` of it.
    """

    value: float
    position: int
    tokens: list[int]
    texts: list[str]
    activations: list[float]
    file: str
    document: int
    token: int


@dataclass(frozen=True)
class Effect:
    """A token, and how much one unit of a feature raises its logit."""

    id: int
    text: str
    logit: float


@dataclass(frozen=True)
class FeatureExamples:
    """What is known of a feature.

    `density` is the share of positions at which it is on, `mean` its mean there, `histogram` how
    many of them have a value in each bin: bin i is from ``edges[i]`` to ``edges[i + 1]``. The
    tokens that it promotes and suppresses by itself are None if it does not write to the residual
    stream.
    """

    feature: int
    on: int
    density: float
    mean: float | None
    edges: list[float]
    histogram: list[int]
    examples: list[Example]
    promoted: list[Effect] | None
    suppressed: list[Effect] | None


def found(kit: ModelKit, search: ExampleSearch, effects: int = 10) -> Iterator[FeatureExamples]:
    """The features of a search one after another, each with so many tokens that it promotes, and
    suppresses, most."""
    for first in range(0, len(search.features), AT_ONCE):
        features = search.features[first : first + AT_ONCE]
        promoted = token_effects(kit, search.layer, features, effects)
        for row, feature in enumerate(features, first):
            raised, lowered = promoted[row - first] if promoted else (None, None)
            yield _of(kit, search, row, feature, raised, lowered)


def token_effects(
    kit: ModelKit, layer: BoundLayer, features: Sequence[int], top_k: int
) -> list[tuple[list[Effect], list[Effect]]] | None:
    """The tokens that each feature promotes most, and suppresses most: how much one unit of it
    adds to their logits where the residual stream's root mean square is 1, by what it writes first.

    None for features that do not write to the residual stream.
    """
    point, rows = layer.layer.decoder_rows[0]
    if point.component not in IN_STREAM or (point.is_input and point.component is not C.RESIDUAL):
        return None
    logits = raised_logits(kit, np.array(rows(mx.array(list(features)))))
    pairs = []
    for row in logits:
        order = np.argsort(-row, kind="stable")
        pairs.append((_effects(kit, row, order[:top_k]), _effects(kit, row, order[::-1][:top_k])))
    return pairs


def _effects(kit: ModelKit, logits: np.ndarray, tokens: np.ndarray) -> list[Effect]:
    return [
        Effect(token, kit.pieces.text(token), float(logits[token])) for token in tokens.tolist()
    ]


def _of(
    kit: ModelKit,
    search: ExampleSearch,
    row: int,
    feature: int,
    promoted: list[Effect] | None,
    suppressed: list[Effect] | None,
) -> FeatureExamples:
    tally = search.tally
    on = int(tally.on[row])
    edges, histogram = _histogram(tally.histogram[row])
    count = int((tally.values[row] > 0).sum())
    return FeatureExamples(
        feature=feature,
        on=on,
        density=on / tally.positions,
        mean=float(tally.sums[row] / on) if on else None,
        edges=edges,
        histogram=histogram,
        examples=[_example(kit, search, row, place) for place in range(count)],
        promoted=promoted,
        suppressed=suppressed,
    )


def _histogram(counts: np.ndarray) -> tuple[list[float], list[int]]:
    """The bins from the first to the last that is not empty, with their edges."""
    (used,) = np.nonzero(counts)
    if not used.size:
        return [], []
    edges = [0.0, *EDGES.tolist(), float("inf")]
    first, last = int(used[0]), int(used[-1])
    return edges[first : last + 2], counts[first : last + 1].tolist()


def _example(kit: ModelKit, search: ExampleSearch, row: int, place: int) -> Example:
    tally = search.tally
    tokens = tally.tokens[row, place]
    there = tokens != NOTHING
    file, document, token = tally.places[row, place].tolist()
    ids = tokens[there].tolist()
    return Example(
        value=float(tally.values[row, place]),
        position=int(there[: search.settings.before].sum()),
        tokens=ids,
        texts=[kit.pieces.text(each) for each in ids],
        activations=tally.activations[row, place][there].tolist(),
        file=search.texts.name(file),
        document=document,
        token=token,
    )
