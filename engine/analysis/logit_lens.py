"""The logit lens: what each layer's residual stream would predict if it were the last one's.

The final norm and the unembedding are applied to the residual stream after each block
(nostalgebraist 2020, lesswrong.com/posts/AcKRB8wDpdaN6v6ru).
"""

from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np

from engine.analysis.patching import FINAL_NORM_INPUT, run
from engine.components import ComponentType
from engine.runs.finite import are_finite, not_finite
from engine.runs.footprint import LONG
from engine.runs.kit import ModelKit
from engine.structure.places import places_named
from engine.taps.observation import observed
from engine.taps.points import Point, Visitor


def logit_lens(kit: ModelKit, tokens: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Each layer and its logits, ``[seq, vocab]`` in float32; the last layer's are the model's own.

    The stream of a layer takes the place of the last block's output: MLX evaluates only what lies
    above it, so each layer costs a final norm and an unembedding. Raises UnknownComponentError if
    the model has no residual stream, NotEnoughMemoryError for what does not fit, NotFiniteError.
    """
    places = places_named("*", ComponentType.RESIDUAL, kit.structure)
    points = [Point(place.layer, place.component) for place in places]
    streams = run(kit, tokens, points, lambda logits: logits[:, -1, 0]).values
    length = len(tokens)
    size = LONG if FINAL_NORM_INPUT in kit.structure.shapes else length
    kit.footprint.check_logits(length)
    for point in points:
        rows = []
        for first in range(0, length, size):
            visitors = {points[-1]: _returning(streams[point])}
            if length > size:
                visitors[FINAL_NORM_INPUT] = _rows(first, size)
            with observed(kit.structure, visitors):
                logits = kit.structure.logits(mx.array([list(tokens)]))[0]
            rows.append(np.array(logits.astype(mx.float32)))
        if not all(map(are_finite, rows)):
            raise not_finite(kit, [tokens], {points[-1]: _returning(streams[point])})
        yield point.in_layer, rows[0] if len(rows) == 1 else np.concatenate(rows)


def _returning(stream: mx.array) -> Visitor:
    return lambda value, span: stream


def _rows(first: int, size: int) -> Visitor:
    """What is unembedded at once of a long sequence."""
    return lambda value, span: value[:, first : first + size]
