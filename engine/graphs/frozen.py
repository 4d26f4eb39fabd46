"""Passes over one prompt in which all that is not linear is kept as it was in the first.

Attention patterns, the sizes that norms divide by, and what MLPs write are kept from one pass of
the model. In every later pass they are constants, and what MLPs write is given: each value of the
residual stream is then a linear function (with a constant) of the token embeddings and of what is
written, which is what an attribution graph divides up (Ameisen et al. 2025,
transformer-circuits.pub/2025/attribution-graphs/methods.html).
"""

from collections.abc import Mapping, Sequence

import mlx.core as mx
import numpy as np

from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, UnknownComponentError
from engine.graphs.norms import Scales, norms_of, scaled_by
from engine.machine.gaps import gaps_explained
from engine.runs.finite import are_finite, not_finite
from engine.runs.kit import ModelKit
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor

EMBEDDING = Point(None, C.EMBEDDING)
FINAL_NORM = Point(None, C.FINAL_NORM)

Skips = Mapping[Point, tuple[Point, mx.array]]
"""By the point that is written: the point that is read, and the matrix ``[d_out, d_in]`` by which
a linear part of what is written follows it."""
Stream = Mapping[Point, mx.array]
"""Values ``[seq, hidden]``, or ``[batch, seq, hidden]``, at points of the residual stream."""


class FrozenPass:
    """One prompt's pass, and later ones with its attention patterns and norms' sizes.

    `reads` are points whose values are of interest, beside that of the final norm, which is always
    among them. `values` are those of the first pass, ``[seq, hidden]`` in float32, at `reads` and
    at `writes`: the token embeddings and what each MLP writes. `logits` are those of the last
    position, ``[vocab]`` in float32. A linear part of what an MLP writes, given by `skips`, follows
    what is read in later passes.

    Raises UnknownComponentError for a model that does not tell its attention patterns or what its
    MLPs write in every layer, NotEnoughMemoryError, NotFiniteError.
    """

    @gaps_explained()
    def __init__(
        self, kit: ModelKit, tokens: Sequence[int], reads: Sequence[Point], skips: Skips
    ) -> None:
        structure = kit.structure
        structure.check_length(len(tokens))
        self._kit = kit
        self.tokens = list(tokens)
        self.reads = [*dict.fromkeys([*reads, FINAL_NORM])]
        layers = range(structure.layers)
        self._patterns = [Point(layer, C.ATTENTION_PATTERN) for layer in layers]
        self.mlps = [Point(layer, C.MLP) for layer in layers]
        _check_points(kit, [*self._patterns, *self.mlps, *self.reads, EMBEDDING])
        self._skips = skips
        self._scales = Scales()
        compute = scaled_by(self._scales)
        self._norms = [(module, compute) for module in norms_of(structure.model)]
        self.values, self.logits = self._first()
        self._scales.keep()

    @property
    def writes(self) -> list[Point]:
        """The points whose values are given in later passes."""
        return [EMBEDDING, *self.mlps]

    def run(self, written: Stream) -> dict[Point, mx.array]:
        """The values at `reads`, ``[batch, seq, hidden]``, where the values at `writes` are
        ``[batch, seq, hidden]``, without what skips add to them.

        Nothing is evaluated: the values are for `mx.eval` or `mx.vjp`.
        """
        batch = written[EMBEDDING].shape[0]
        seen: dict[Point, mx.array] = {}

        def keep(point: Point) -> Visitor:
            def visit(value: mx.array, span: Span) -> mx.array:
                seen[point] = value
                return value

            return visit

        def write(point: Point) -> Visitor:
            def visit(value: mx.array, span: Span) -> mx.array:
                if point not in self._skips:
                    return written[point]
                read, matrix = self._skips[point]
                return written[point] + seen[read].astype(mx.float32) @ matrix.T

            return visit

        self._scales.rewind()
        visitors = {
            **{point: keep(point) for point in self.reads},
            **{point: write(point) for point in self.writes},
            **{point: _broadcast(self._kept[point], batch) for point in self._patterns},
        }
        tokens = mx.array([self.tokens] * batch)
        with observed(self._kit.structure, visitors, computed=self._norms):
            self._kit.structure.logits(tokens)
        return {point: seen[point].astype(mx.float32) for point in self.reads}

    def _first(self) -> tuple[dict[Point, mx.array], np.ndarray]:
        points = [*dict.fromkeys([*self.reads, *self.writes, *self._patterns])]
        seen: dict[Point, list[mx.array]] = {point: [] for point in points}

        def keep(point: Point) -> Visitor:
            def visit(value: mx.array, span: Span) -> mx.array:
                seen[point].append(value)
                return value

            return visit

        kit = self._kit
        visitors = {point: keep(point) for point in points}
        with observed(kit.structure, visitors, computed=self._norms):
            logits = kit.structure.logits(mx.array([self.tokens]))[0, -1].astype(mx.float32)
        for point, values in seen.items():
            if len(values) != 1:
                raise InvalidRequestError(
                    f"{point.component} of layer {point.layer} is calculated {len(values)} times "
                    "in a pass of this model: no linear pass can be made of it"
                )
        self._kept = {point: seen[point][0] for point in self._patterns}
        streams = {
            point: value[0].astype(mx.float32)
            for point, (value,) in seen.items()
            if point not in self._kept
        }
        mx.eval(logits, self._scales.kept, list(self._kept.values()), list(streams.values()))
        found = np.array(logits)
        if not are_finite(found):
            raise not_finite(kit, [self.tokens], {})
        return streams, found


def _broadcast(pattern: mx.array, batch: int) -> Visitor:
    return lambda value, span: mx.broadcast_to(pattern, (batch, *pattern.shape[1:]))


def _check_points(kit: ModelKit, points: Sequence[Point]) -> None:
    structure = kit.structure
    for point in points:
        if point in structure.shapes:
            continue
        where = "the model" if point.layer is None else f"layer {point.layer}"
        side = "the input of " if point.is_input else ""
        reason = structure.absent.get((point.layer, point.component), "it is not calculated there")
        raise UnknownComponentError(
            f"no attribution graph: {where} has no {side}{point.component}: {reason}"
        )
