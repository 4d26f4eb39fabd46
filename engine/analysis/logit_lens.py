"""The logit lens: what each layer's residual stream would predict if it were the last one's.

The final norm and the unembedding are applied to the residual stream after each block
(nostalgebraist 2020, lesswrong.com/posts/AcKRB8wDpdaN6v6ru). A lens from a file first makes of the
stream what the last one would be.
"""

from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np

from engine.analysis.patching import FINAL_NORM_INPUT, run
from engine.components import ComponentType
from engine.lenses.lens import Lens
from engine.runs.finite import are_finite, not_finite
from engine.runs.footprint import LONG
from engine.runs.kit import ModelKit
from engine.structure.places import places_named
from engine.taps.observation import observed
from engine.taps.points import Point, Visitor


def logit_lens(
    kit: ModelKit, tokens: Sequence[int], lens: Lens | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Each layer and its logits, ``[seq, vocab]`` in float32; the last layer's are the model's own.

    With a `lens` of a file those of the layers that it reads, and of the last.

    The stream of a layer takes the place of the last block's output: MLX evaluates only what lies
    above it, so each layer costs a final norm and an unembedding. Raises UnknownComponentError if
    the model has no residual stream, InvalidRequestError for a lens of another model,
    NotEnoughMemoryError for what does not fit, NotFiniteError.
    """
    if lens is not None:
        lens.check(kit.structure)
    places = places_named("*", ComponentType.RESIDUAL, kit.structure)
    points = [Point(place.layer, place.component) for place in places]
    if lens is not None:
        points = [p for p in points if lens.reads(p.in_layer, kit.structure.layers)]
    streams = run(kit, tokens, points, lambda logits: logits[:, -1, 0]).values
    length = len(tokens)
    size = LONG if FINAL_NORM_INPUT in kit.structure.shapes else length
    kit.footprint.check_logits(length)
    for point in points:
        stream = streams[point]
        if lens is not None:
            stream = lens.translated(point.in_layer, stream)
        parts = [stream[:, first : first + size] for first in range(0, length, size)]
        rows = [unembedded(kit, tokens, part) for part in parts]
        if not all(map(are_finite, rows)):
            raise not_finite(kit, [tokens], {points[-1]: _returning(stream)})
        yield point.in_layer, rows[0] if len(rows) == 1 else np.concatenate(rows)


def unembedded(kit: ModelKit, tokens: Sequence[int], streams: mx.array) -> np.ndarray:
    """The logits ``[rows, vocab]``, in float32, of rows of residual streams, ``[1, rows, hidden]``,
    as what follows the last block reads them: at any positions of a pass over `tokens`."""
    length = len(tokens)
    last = Point(kit.structure.layers - 1, ComponentType.RESIDUAL)
    logits = []
    for first in range(0, streams.shape[1], length):
        part = streams[:, first : first + length]
        rows = part.shape[1]
        stream = mx.pad(part, [(0, 0), (0, length - rows), (0, 0)])
        visitors = {last: _returning(stream)}
        if rows < length and FINAL_NORM_INPUT in kit.structure.shapes:
            visitors[FINAL_NORM_INPUT] = _first(rows)
        with observed(kit.structure, visitors):
            part = kit.structure.logits(mx.array([list(tokens)]))[0, :rows]
        logits.append(np.array(part.astype(mx.float32)))
    return np.concatenate(logits)


def _returning(stream: mx.array) -> Visitor:
    return lambda value, span: stream


def _first(rows: int) -> Visitor:
    """Keep the first positions alone."""
    return lambda value, span: value[:, :rows]
