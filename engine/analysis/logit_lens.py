"""The logit lens: what each layer's residual stream would predict if it were the last one's.

The final norm and the unembedding are applied to the residual stream after each block
(nostalgebraist 2020, lesswrong.com/posts/AcKRB8wDpdaN6v6ru).
"""

from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np

from engine.analysis.patching import run
from engine.components import ComponentType
from engine.runs.kit import ModelKit
from engine.structure.places import places_named
from engine.taps.observation import observed
from engine.taps.points import Point, Visitor


def logit_lens(kit: ModelKit, tokens: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Each layer and its logits, ``[seq, vocab]`` in float32; the last layer's are the model's own.

    The stream of a layer takes the place of the last block's output: MLX evaluates only what lies
    above it, so each layer costs a final norm and an unembedding. Raises UnknownComponentError if
    the model has no residual stream.
    """
    places = places_named("*", ComponentType.RESIDUAL, kit.structure)
    points = [Point(place.layer, place.component) for place in places]
    streams = run(kit, tokens, points, lambda logits: logits[:, -1, 0]).values
    for point in points:
        with observed(kit.structure, {points[-1]: _returning(streams[point])}):
            logits = kit.structure.logits(mx.array([list(tokens)]))[0]
        yield point.in_layer, np.array(logits.astype(mx.float32))


def _returning(stream: mx.array) -> Visitor:
    return lambda value, span: stream
