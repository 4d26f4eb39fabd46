"""The values at hook points for a batch of sequences, and no more of the pass than they need."""

from collections.abc import Sequence

import mlx.core as mx

from engine.components import ComponentType
from engine.features.values import ValueForm
from engine.machine.gaps import gaps_explained
from engine.runs.finite import not_finite
from engine.runs.kit import ModelKit
from engine.runs.steps import in_steps
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor


class ActivationReader:
    """Reads the values of a model in some forms."""

    def __init__(self, kit: ModelKit, forms: Sequence[ValueForm]):
        self._kit = kit
        self._forms = forms
        self._points = [form.point for form in forms]

    def read(self, windows: Sequence[Sequence[int]]) -> list[mx.array]:
        """The values ``[batch, seq, width]`` of each form, in float32, for some sequences.

        Sequences shorter than the longest are continued to its length; what is at those
        positions means nothing, and the model's attention does not see it from those before. Raises
        NotEnoughMemoryError, NotFiniteError.
        """
        length = max(map(len, windows))
        batch = [[*window, *[window[-1]] * (length - len(window))] for window in windows]
        kit = self._kit
        seen: dict[Point, mx.array] = {}
        kit.check_tokens(batch)
        kit.structure.check_length(length)
        kept = kit.footprint.of_values(self._points, len(batch), length)
        kit.footprint.longest_pass(len(batch), length, kept=kept, can_be_cut=False)

        def keep(point: Point) -> Visitor:
            def visit(value: mx.array, span: Span) -> mx.array:
                seen[point] = value
                return value

            return visit

        visitors = in_steps(
            kit.structure,
            {point: keep(point) for point in self._points},
            len(batch) * length,
            last=self._last_layer,
        )
        with gaps_explained(), observed(kit.structure, visitors):
            kit.structure.logits(mx.array(batch))
            found = [form.flat(seen[form.point]) for form in self._forms]
            finite = mx.all(mx.stack([mx.isfinite(value).all() for value in found]))
            mx.eval(found, finite)
        if not finite.item():
            raise not_finite(kit, batch, {})
        return found

    @property
    def _last_layer(self) -> int | None:
        """The last layer that the points need; None: all of them."""
        if any(point.layer is None for point in self._points):
            whole = all(point.component is ComponentType.EMBEDDING for point in self._points)
            return -1 if whole else None
        return max(point.in_layer for point in self._points)
