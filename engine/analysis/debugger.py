"""A forward pass that is run in steps: stopped, looked at, changed, and run again from a layer.

The pass is not kept waiting where it stops. What is kept is the residual stream that enters each
layer, and what was changed: to go on, the model's code runs again with these in their places, and
MLX evaluates only what follows from the last of them. So a step costs the layers that it passes,
whatever lies below is not calculated again, and another pass may run between two steps. Layers
that read keys of earlier ones, or states, find them calculated from the streams that were kept.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.components import ComponentType as C
from engine.errors import InterventionError, InvalidRequestError, UnknownLayerError
from engine.interventions.intervening import Interventions
from engine.interventions.intervention import AnyIntervention
from engine.machine.gaps import gaps_explained
from engine.runs.finite import are_finite, not_finite
from engine.runs.kit import ModelKit
from engine.runs.steps import is_long
from engine.structure.places import places_named
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor, sequence_axis
from engine.turns import give_way

EMBEDDED = Point(None, C.EMBEDDING)
OUTSIDE = {Point(None, C.EMBEDDING, True), Point(None, C.LOGITS)}
"""Points that are no stops: token ids, and the logits, which are the pass' result."""


@dataclass(frozen=True)
class Stop:
    """One place of one pass: the `index`-th value that the model calculates at a hook point."""

    index: int
    point: Point


Target = Callable[[Stop], bool]
"""Says of a stop whether it is the one to go to."""
Changes = Mapping[int, mx.array]
"""What the values at some stops are replaced with, by their indices."""
Look = Callable[[int, Point, mx.array], mx.array]
"""Takes a stop's index, its point and its value, and returns the value to go on with."""


def is_stream(point: Point) -> bool:
    """Whether a value is the residual stream that enters a layer, or the final norm."""
    return point == EMBEDDED or (point.component is C.RESIDUAL and not point.is_input)


def next_layer(stop: Stop) -> bool:
    """The target of a step over a layer: the residual stream that the layer returns."""
    return is_stream(stop.point)


def next_point(stop: Stop) -> bool:
    """The target of a step to the next value that the model calculates."""
    return not stop.point.is_input


def nowhere(stop: Stop) -> bool:
    """The target of a pass that runs to its end."""
    return False


class _ReachedError(Exception):
    """Unwinds the model's code at a stop."""


class _Leg:
    """What one run of the model's code finds behind the stop `before`, up to its target."""

    def __init__(
        self,
        before: int,
        target: Target = nowhere,
        keep: Callable[[mx.array], None] = lambda stream: None,
    ):
        self.points: list[Point] = []
        self.streams: dict[int, mx.array] = {}
        self.value: mx.array | None = None
        self.residual: mx.array | None = None
        self.logits: mx.array | None = None
        self._before = before
        self._target = target
        self._keep = keep

    def look(self, index: int, point: Point, value: mx.array) -> mx.array:
        """See a value on the way, and stop at the target's."""
        if _is_residual(point):
            self.residual = value
        if index > self._before:
            self.points.append(point)
            if is_stream(point):
                self._keep(value)
                self.streams[index] = value
            if self._target(Stop(index, point)):
                self.value = value
                raise _ReachedError
        return value

    def evaluate(self) -> None:
        arrays = (self.value, self.residual, self.logits)
        mx.eval([each for each in arrays if each is not None])


class ForwardDebugger:
    """A forward pass over one sequence, stopped before its first layer when it is made.

    `allow` is called with the bytes that are about to be kept, and raises if they are too many.
    Raises UnknownComponentError, with the reason, for a model whose layers return no residual
    stream, InvalidRequestError for tokens outside the vocabulary, ContextLengthError,
    NotEnoughMemoryError, before anything runs.
    """

    def __init__(
        self,
        kit: ModelKit,
        tokens: Sequence[int],
        interventions: Sequence[AnyIntervention] = (),
        allow: Callable[[int], None] = lambda nbytes: None,
    ):
        kit.check_tokens([tokens])
        length = len(tokens)
        kit.structure.check_length(length)
        places_named("*", C.RESIDUAL, kit.structure)
        self.kit = kit
        self.tokens = list(tokens)
        self.changes: dict[int, mx.array] = {}
        self.streams: dict[int, mx.array] = {}
        self._allow = allow
        self._declared = Interventions(interventions, kit.structure, length, range(length))
        self._points: list[Point] = []
        self._index = -1
        self._leg = _Leg(-1)
        self.check_room(passes=1)
        self._go(next_layer)

    # where it is

    @property
    def stop(self) -> Stop | None:
        """Where the pass is stopped; None at its end."""
        if self._index == len(self._points):
            return None
        return Stop(self._index, self._points[self._index])

    @property
    def value(self) -> mx.array:
        """The value here, changed if it was: of the shape of its component, or at the end the
        logits of the last position, ``[1, 1, vocab]``."""
        if self._leg.logits is not None:
            return self._leg.logits
        assert self._leg.value is not None, "a pass that is stopped has a value"
        return self.changes.get(self._index, self._leg.value)

    def value_at(self, position: int) -> mx.array:
        """The value here at one position, or at the end the last logits."""
        stop = self.stop
        if stop is None:
            return self.value
        axis = sequence_axis(stop.point)
        return self.value[(slice(None),) * axis + (slice(position, position + 1),)]

    @property
    def layer(self) -> int | None:
        """The layer that the pass is in, or that runs next; None behind the last."""
        stop = self.stop
        if stop is None or (stop.point.layer is None and stop.point != EMBEDDED):
            return None
        if not is_stream(stop.point):
            return stop.point.layer
        following = 0 if stop.point.layer is None else stop.point.layer + 1
        return following if following < self.kit.structure.layers else None

    @property
    def residual(self) -> mx.array:
        """The residual stream here, ``[1, seq, hidden]``: the value, if it is the stream, or what
        the layer has added to it so far."""
        stop = self.stop
        if stop is not None and _is_residual(stop.point):
            return self.value
        assert self._leg.residual is not None, "a stream enters before any other value"
        return self._leg.residual

    @property
    def changed(self) -> list[Stop]:
        """The stops whose values were changed, in the order of the pass."""
        return [Stop(index, self._points[index]) for index in sorted(self.changes)]

    @property
    def nbytes(self) -> int:
        """The bytes that are kept for it."""
        kept = [*self.streams.values(), *self.changes.values(), self._leg.value]
        return sum(array.nbytes for array in kept if array is not None)

    def check_room(self, passes: int) -> None:
        """Raise if the streams of so many passes, beside what is kept, are too much to keep, or do
        not fit into the memory that is available."""
        length, structure = len(self.tokens), self.kit.structure
        streams = [point for point in structure.shapes if is_stream(point)]
        expected = passes * self.kit.footprint.of_values(streams, 1, length)
        self._allow(self.nbytes + expected)
        self.kit.footprint.longest_pass(
            1, length, kept=expected, looks_at_scores=True, most=length, can_be_cut=False
        )

    # what is done with it

    def step(self, target: Target) -> None:
        """Go on to the first stop behind this one that is the target, or to the end.

        Raises InvalidRequestError at the end of the pass, InterventionError for a change that
        cannot act, NotFiniteError at the end; the pass is then where it was.
        """
        if self.stop is None:
            raise InvalidRequestError("the pass is at its end: restart it at a layer")
        self._go(target)

    def target(self, layer_name: str, component: C | str | None) -> Target:
        """A place by its names, as a target. Raises UnknownLayerError, UnknownComponentError,
        InvalidRequestError for a place that is behind, or for several."""
        places = places_named(layer_name, component, self.kit.structure)
        points = [point for place in places for point, _ in place.points]
        if len(points) != 1:
            raise InvalidRequestError(f"{layer_name!r} names {len(points)} places: name one")
        (point,) = points
        if point in OUTSIDE:
            raise InvalidRequestError(f"{point.component} is no stop: continue to the end")
        if point in self._points[: self._index + 1]:
            raise InvalidRequestError(
                f"{_named(point)} is not ahead: restart the pass at layer {point.layer or 0} first"
            )
        return lambda stop: stop.point == point

    def change(self, value: np.ndarray | None) -> None:
        """Replace the value here by another of its shape; None puts the model's own back.

        Raises InvalidRequestError at the end, InterventionError for another shape, or for a
        value that is no number to calculate with.
        """
        changed = self._as_change(value)
        self.changes.pop(self._index, None)
        if changed is not None:
            self._allow(self.nbytes + changed.nbytes)
            self.changes[self._index] = changed

    def restart(self, layer: int) -> None:
        """Go back to the residual stream that enters a layer, and forget what was changed after.

        Raises UnknownLayerError for a layer that the pass has not come to, or that the model does
        not have.
        """
        index = self._entering(layer)
        self._index = index
        self._points = self._points[: index + 1]
        self.streams = {each: kept for each, kept in self.streams.items() if each <= index}
        self.changes = {each: kept for each, kept in self.changes.items() if each <= index}
        self._leg = _Leg(index)
        self._leg.value = self.streams[index]

    def alternative(self, value: np.ndarray | None) -> tuple[int, Changes, Changes]:
        """What two continuations change, and the index of the first stop where they differ: with a
        value they are the pass as it is and with that value here, without one the model's own
        pass and the changed one. Raises InvalidRequestError if there is no difference."""
        other = self._as_change(value)
        if other is not None:
            return self._index, self.changes, {**self.changes, self._index: other}
        if not self.changes:
            raise InvalidRequestError("value: nothing was changed yet: fork with a value")
        return min(self.changes), {}, self.changes

    # how

    def run(self, start: int, changes: Changes, look: Look) -> mx.array:
        """Run the model's code with the streams up to the index `start` as they were kept, and
        some values replaced; `look` is shown each value, and returns the one to go on with.

        Returns the logits, ``[1, seq, vocab]``, which are not evaluated.
        """
        count = 0
        declared = self._declared.visitors()

        def visitor(point: Point) -> Visitor:
            change = declared.get(point, lambda value, span: value)

            def visit(value: mx.array, span: Span) -> mx.array:
                nonlocal count
                index, count = count, count + 1
                kept = self.streams.get(index) if index <= start else None
                value = change(value, span) if kept is None else kept
                return look(index, point, changes.get(index, value))

            return visit

        points = self.kit.structure.shapes.keys() - OUTSIDE
        visitors = {**declared, **{point: visitor(point) for point in points}}
        with observed(self.kit.structure, visitors):
            return self.kit.structure.logits(mx.array([self.tokens]))

    def stream_at(self, index: int) -> int:
        """The index of the last stream that was kept up to an index; -1 if there is none."""
        return max((each for each in self.streams if each <= index), default=-1)

    def _go(self, target: Target) -> None:
        kept = self.nbytes

        def keep(stream: mx.array) -> None:
            nonlocal kept
            kept += stream.nbytes
            self._allow(kept)
            self.calculate(stream)

        leg = _Leg(self._index, target, keep)
        with gaps_explained():
            with suppress(_ReachedError):
                logits = self.run(self.stream_at(self._index), self.changes, leg.look)
                leg.logits = logits[:, -1:]
            leg.evaluate()
        if leg.logits is not None:
            self._check_end(leg.logits, target)
        self._points += leg.points
        self.streams |= leg.streams
        self._leg = leg
        self._index = len(self._points) - (leg.logits is None)

    def calculate(self, stream: mx.array) -> None:
        """Have a stream that is to be kept calculated, and in a long pass let others run."""
        if is_long(self.kit.structure, len(self.tokens)):
            mx.eval(stream)
            give_way()
        else:
            mx.async_eval(stream)

    def _check_end(self, logits: mx.array, target: Target) -> None:
        """Raise what is wrong with a pass that came to its end."""
        if target not in (next_layer, next_point, nowhere):
            raise InvalidRequestError("the model calculated no such value in this pass")
        self._declared.check_done(len(self.tokens))
        if not are_finite(np.array(logits.astype(mx.float32))):
            raise not_finite(self.kit, [self.tokens], self._declared.visitors())

    def _entering(self, layer: int) -> int:
        """The index of the stream that enters a layer."""
        layers = self.kit.structure.layers
        if not 0 <= layer < layers:
            raise UnknownLayerError(f"layer {layer}: the model has layers 0 to {layers - 1}")
        wanted = EMBEDDED if layer == 0 else Point(layer - 1, C.RESIDUAL)
        if wanted not in self.kit.structure.shapes:
            reason = self.kit.structure.absent[wanted.layer, wanted.component]
            raise UnknownLayerError(f"{_named(wanted)} is no hook point of this model: {reason}")
        if wanted not in self._points:
            raise UnknownLayerError(f"the pass has not come to layer {layer}: step to it")
        return self._points.index(wanted)

    def _as_change(self, value: np.ndarray | None) -> mx.array | None:
        if value is None:
            return None
        stop, here = self.stop, self.value
        if stop is None:
            raise InvalidRequestError("the pass is at its end: restart it at a layer")
        if stop.point.component is C.ROUTER_CHOICE:
            raise InterventionError(
                f"{_named(stop.point)} is made of expert ids, not of numbers to calculate with; "
                f"change {C.ROUTER.value}"
            )
        if value.shape != here.shape:
            raise InterventionError(
                f"value: it has the shape {list(value.shape)}, {_named(stop.point)} has "
                f"{list(here.shape)}"
            )
        changed = mx.array(value).astype(here.dtype)
        if stop.point.component is C.ATTENTION_SCORES:
            changed = mx.where(here == -mx.inf, here, changed)
        mx.eval(changed)
        return changed


def _is_residual(point: Point) -> bool:
    """Whether a value is the residual stream, where it enters a layer or in the middle of one."""
    return is_stream(point) or (point.component is C.RESIDUAL_MID and not point.is_input)


def _named(point: Point) -> str:
    side = "the input of " if point.is_input else ""
    where = "" if point.layer is None else f" of layer {point.layer}"
    return f"{side}{point.component}{where}"
