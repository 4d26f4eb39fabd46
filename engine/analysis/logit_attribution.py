"""Direct logit attribution: how much each part of a model adds to a token's logit by itself.

The residual stream after the last layer is the sum of the embedding and of what attention and MLP
of each layer add to it. With the final norm's scale frozen at what it is in this pass, a logit is
linear in the stream, so that the same sum, taken through norm and unembedding, is the logit (Elhage
et al. 2021, transformer-circuits.pub/2021/framework). What a part adds includes the norm after it,
where the architecture has one, with the scale of that frozen too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import mlx.core as mx
import numpy as np

from engine.analysis.feature_attribution import FeatureShares, feature_shares, written_by
from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.components import WHOLE_MODEL
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, UnknownPositionError
from engine.features.bound import BoundSet
from engine.runs.forward import run_forward
from engine.runs.kit import ModelKit
from engine.structure.places import places_named
from engine.taps.frozen import observed_with_frozen_norms
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor, Visitors, sequence_axis

ROUNDING = 1e-6
TOKENS = 2
"""Positions of a pass for parts: attention over a latent is another one for a single token."""
By = Literal["layer", "component", "head", "neuron", "feature"]
OTHERS = {"neuron": "other_neurons", "feature": "other_features"}
"""The term of those that are not listed, of what there are too many of."""
ENTRY, NORM = Point(None, C.EMBEDDING), Point(None, C.FINAL_NORM)
KINDS = (C.EMBEDDING, C.RESIDUAL, C.ATTENTION, C.MLP, C.RESIDUAL_MID, C.HEAD_OUTPUT, C.FINAL_NORM)
REST = 1e-4
"""What remains of a layer is a term of its own from this share of what the layer adds on; less is
rounding, and part of the error."""


@dataclass(frozen=True)
class Term:
    """What one part adds to the logit.

    `part` is ``embedding``, ``layer``, ``attention``, ``mlp``, ``head``, ``neuron``;
    ``other_neurons`` of a layer, with the bias behind them; ``attention_bias``, what attention adds
    beside its heads; ``rest``, what a layer does beside attention and MLP; ``final_norm_bias``,
    ``unembedding_bias``; or ``soft_cap``, what a cap takes off the logit. Of a `feature_set`:
    ``feature``; ``other_features``, those that are not listed, with biases and a skip connection;
    ``reconstruction_error``, what the set leaves.
    """

    part: str
    layer: int | None
    index: int | None
    value: float
    feature_set: str | None = None


@dataclass(frozen=True)
class LogitAttribution:
    """A logit, or a difference of two, and the terms that it is the sum of, but for the error."""

    logit: float
    terms: list[Term]

    @property
    def sum(self) -> float:
        """The sum of all terms."""
        return float(sum(term.value for term in self.terms))

    @property
    def error(self) -> float:
        """What the logit has beside its terms: rounding, if a model is as was said above."""
        return self.logit - self.sum


def logit_attribution(
    kit: ModelKit,
    tokens: Sequence[int],
    answer: int,
    distractor: int | None = None,
    *,
    position: int = -1,
    by: By = "component",
    top_k: int = 20,
    feature_sets: Sequence[BoundSet] = (),
) -> LogitAttribution:
    """The terms of a token's logit at a position of a prompt, or of its difference to another's.

    `by` says how far the layers are taken apart: ``layer``, ``component``: attention and MLP;
    ``head``: attention by head; ``neuron``: MLPs by neuron, of which the `top_k` that add or take
    most are listed, and of each layer the sum of the others. An MLP of experts stays whole.
    ``feature``: what `feature_sets` write, by feature; a set of a residual stream takes the place
    of all that the stream is the sum of. Costs one forward pass and, of heads and neurons, a
    gradient at one position, of features a second pass. Raises
    UnknownComponentError for a model without a residual stream, UnknownPositionError,
    InvalidRequestError for a token that the model never predicts or sets that do not fit, and for
    sets where nothing is taken apart by feature, NotFiniteError, NotEnoughMemoryError.
    """
    if by not in get_args(By):
        raise InvalidRequestError(f"by: {by!r} is none of {', '.join(get_args(By))}")
    if feature_sets and by != "feature":
        raise InvalidRequestError(f"feature_sets: they go with by feature, not {by}")
    length = len(tokens)
    place = position if position >= 0 else length + position
    if not 0 <= place < length:
        raise UnknownPositionError(f"position {position}: there are positions 0 to {length - 1}")
    seen = _Seen.of(kit, tokens, place)
    chosen = np.zeros(kit.info.vocab_size, np.float32)
    chosen[answer] += 1
    if distractor is not None:
        chosen[distractor] -= 1
    reading = _Reading.of(kit, seen, mx.array(chosen), [answer, distractor])
    parts = _Parts.of(kit, seen, reading.direction, by) if by in ("head", "neuron") else None
    features: dict[Point, list[Term]] = {}
    if by == "feature":
        shares = feature_shares(kit, tokens[: place + 1], written_by(feature_sets))
        features = {point: _of_set(point, seen, reading, each) for point, each in shares.items()}
    first = max((p.in_layer + 1 for p in features if p.component is C.RESIDUAL), default=0)
    terms = [] if first else [Term("embedding", None, None, reading.of_stream(seen.values[ENTRY]))]
    terms += features.get(Point(first - 1, C.RESIDUAL), [])
    for layer in range(first, kit.structure.layers):
        terms += _of_layer(layer, seen, reading, parts, by, features)
    if by in OTHERS:
        terms = _most(terms, top_k, by)
    if abs(reading.norm_bias) > ROUNDING * max(1.0, abs(reading.logit)):
        terms.append(Term("final_norm_bias", None, None, reading.norm_bias))
    if reading.bias:
        terms.append(Term("unembedding_bias", None, None, reading.bias))
    if reading.cap is not None:
        terms.append(Term("soft_cap", None, None, reading.cap))
    return LogitAttribution(reading.logit, terms)


@dataclass(frozen=True)
class _Seen:
    """What a pass has at one position: values ``[1, …, 1, …]`` in float32 by point, and the logits
    ``[vocab]``."""

    values: dict[Point, mx.array]
    logits: mx.array

    @classmethod
    def of(cls, kit: ModelKit, tokens: Sequence[int], place: int) -> "_Seen":
        structure = kit.structure
        places_named("*", C.RESIDUAL, structure)
        kinds = [kind for kind in KINDS if kind in structure.components]
        specs = [
            ActivationHookSpec(kind if kind in WHOLE_MODEL else "*", kind, positions=(-1,))
            for kind in kinds
        ]
        hooks = resolve_hooks(specs, structure)
        found = run_forward(kit, [tokens[: place + 1]], hooks, logits="last")
        values = {}
        for records in found.activations.values():
            for record in records:
                point = Point(record.layer, record.component)
                if point in values:
                    raise InvalidRequestError(
                        f"layer {record.layer} calculates {record.component} more than once in a "
                        "pass: its parts have no one place in the sum"
                    )
                values[point] = mx.array(record.data)
        assert found.logits is not None
        return cls(values, mx.array(found.logits[0, -1]))

    def stream(self, layer: int) -> mx.array:
        """The residual stream after a layer; of -1 as it enters the first."""
        return self.values[ENTRY if layer < 0 else Point(layer, C.RESIDUAL)]


@dataclass(frozen=True)
class _Reading:
    """How the end of a model reads the stream: a `direction` ``[hidden]``, and what is added."""

    direction: mx.array
    norm_bias: float
    bias: float
    cap: float | None
    logit: float

    @classmethod
    def of(
        cls, kit: ModelKit, seen: _Seen, chosen: mx.array, tokens: Sequence[int | None]
    ) -> "_Reading":
        structure = kit.structure
        last = Point(structure.layers - 1, C.RESIDUAL)
        one = mx.zeros((1, 1), mx.int32)
        wanted = mx.array([token for token in tokens if token is not None])
        signs = chosen[wanted]

        def unembedded(normed: mx.array) -> mx.array:
            with observed(structure, {NORM: _returning(normed)}):
                logits = structure.logits(one)[0, 0].astype(mx.float32)
            return (logits[wanted] * signs).sum() if wanted.size else logits.sum()

        def read(stream: mx.array, weights: mx.array) -> mx.array:
            out: list[mx.array] = []
            visitors: Visitors = {last: _returning(stream), NORM: _keeping(out)}
            with observed_with_frozen_norms(structure, visitors, 1):
                structure.logits(one)
            return (out[-1].astype(mx.float32) * weights).sum()

        normed, stream = seen.values[NORM], seen.values[last]
        bias, weights = mx.value_and_grad(unembedded)(mx.zeros_like(normed))
        if not np.isfinite(_number(bias)):
            raise InvalidRequestError("answer, distractor: a token that the model never predicts")
        linear, direction = mx.value_and_grad(read)(stream, weights)
        logit = _number((seen.logits[wanted] * signs).sum())
        before_cap = _number((normed * weights).sum()) + _number(bias)
        half = _number(unembedded(normed / 2)) - _number(bias)
        straight = (before_cap - _number(bias)) / 2
        is_capped = abs(half - straight) > REST * max(1.0, abs(straight))
        return cls(
            direction.reshape(-1),
            _number(linear) - _number((stream * direction).sum()),
            _number(bias),
            logit - before_cap if is_capped else None,
            logit,
        )

    def of_stream(self, value: mx.array) -> float:
        """What a vector of the stream adds to the logit."""
        return _number((value.reshape(-1) * self.direction).sum())


@dataclass(frozen=True)
class _Parts:
    """What the heads or the neurons of each layer add, in a pass whose streams are what they were
    at one position, and whose heads too."""

    component: C
    values: dict[int, np.ndarray]

    @classmethod
    def of(cls, kit: ModelKit, seen: _Seen, direction: mx.array, by: By) -> "_Parts":
        """Raises UnknownComponentError for a model without heads or neurons."""
        structure = kit.structure
        inside, whole = (C.HEAD_OUTPUT, C.ATTENTION) if by == "head" else (C.MLP_HIDDEN, C.MLP)
        places_named("*", inside, structure)
        points = [
            Point(layer, inside)
            for layer in range(structure.layers)
            if len(structure.shapes.get(Point(layer, inside), ())) == (4 if by == "head" else 3)
        ]
        if not points:
            return cls(whole, {})
        streams = (C.EMBEDDING, C.RESIDUAL, C.RESIDUAL_MID, C.HEAD_OUTPUT)
        held = {
            p: _returning(_twice(p, v)) for p, v in seen.values.items() if p.component in streams
        }
        values: dict[Point, list[mx.array]] = {point: [] for point in points}

        def score(more: list[mx.array]) -> mx.array:
            added: dict[int, list[mx.array]] = {point.in_layer: [] for point in points}
            visitors: dict[Point, Visitor] = dict(held)
            for point, change in zip(points, more, strict=True):
                given = seen.values.get(point)
                value = None if given is None else _twice(point, given)
                visitors[point] = _adding(change, value, values[point])
            visitors |= {Point(layer, whole): _keeping(out) for layer, out in added.items()}
            with observed_with_frozen_norms(structure, visitors, TOKENS):
                structure.logits(mx.zeros((1, TOKENS), mx.int32))
            outputs = [out[-1][0, 0].astype(mx.float32) for out in added.values()]
            return (mx.stack(outputs) @ direction).sum()

        shapes = [structure.shapes[point] for point in points]
        zeros = [
            mx.zeros((1, shape[1], TOKENS, shape[3]) if by == "head" else (1, TOKENS, shape[-1]))
            for shape in shapes
        ]
        slopes = mx.grad(score)(zeros)
        found = {}
        for point, slope in zip(points, slopes, strict=True):
            adds = np.array(values[point][-1].astype(mx.float32) * slope)
            found[point.in_layer] = adds.sum((0, 2, 3)) if by == "head" else adds[0, 0]
        return cls(whole, found)


def _of_set(point: Point, seen: _Seen, reading: _Reading, shares: FeatureShares) -> list[Term]:
    """The terms of a value that a feature set writes."""
    layer, name = point.layer, shares.set_id
    adds = np.array(shares.directions @ reading.direction)
    error = seen.values[point].reshape(-1) - shares.reconstruction
    return [
        *(
            Term("feature", layer, int(index), float(value), name)
            for index, value in zip(shares.indices, adds, strict=True)
        ),
        Term("other_features", layer, None, reading.of_stream(shares.others), name),
        Term("reconstruction_error", layer, None, reading.of_stream(error), name),
    ]


def _of_layer(
    layer: int,
    seen: _Seen,
    reading: _Reading,
    parts: _Parts | None,
    by: By,
    features: Mapping[Point, list[Term]],
) -> list[Term]:
    change = seen.stream(layer) - seen.stream(layer - 1)
    whole = reading.of_stream(change)
    if by == "layer":
        return [Term("layer", layer, None, whole)]
    terms: list[Term] = []
    left = change
    for component in (C.ATTENTION, C.MLP):
        value = seen.values.get(Point(layer, component))
        if value is not None:
            left = left - value
            terms += features.get(Point(layer, component)) or _of_component(
                component, layer, reading.of_stream(value), parts, by
            )
    if _number(mx.abs(left).max()) > REST * _number(mx.abs(change).max()):
        terms.append(Term("rest", layer, None, reading.of_stream(left)))
    return terms


def _of_component(
    component: C, layer: int, whole: float, parts: _Parts | None, by: By
) -> list[Term]:
    if parts is None or parts.component is not component or layer not in parts.values:
        return [Term(component.value, layer, None, whole)]
    values = parts.values[layer]
    terms = [Term(by, layer, index, float(value)) for index, value in enumerate(values)]
    bias = whole - float(values.sum(dtype=np.float64))
    if by == "neuron":
        return [*terms, Term("other_neurons", layer, None, bias)]
    is_there = abs(bias) > REST * float(np.abs(values).max())
    return [*terms, Term("attention_bias", layer, None, bias)] if is_there else terms


def _most(terms: list[Term], count: int, part: By) -> list[Term]:
    """The neurons or features that add or take most, and the others of each layer, or of each set,
    as one term."""
    small = [term for term in terms if term.part == part]
    listed = sorted(small, key=lambda term: -abs(term.value))[:count]
    others: dict[tuple[int | None, str | None], float] = {}
    for term in small:
        others[_owner(term)] = others.get(_owner(term), 0.0) + term.value
    for term in listed:
        others[_owner(term)] -= term.value
    told = [term for term in terms if term.part not in (part, OTHERS[part])]
    for term in terms:
        if term.part == OTHERS[part]:
            told.append(replace(term, value=term.value + others.get(_owner(term), 0.0)))
    return [*told, *listed]


def _owner(term: Term) -> tuple[int | None, str | None]:
    return term.layer, term.feature_set


def _returning(value: mx.array) -> Visitor:
    return lambda _, span: value


def _keeping(out: list[mx.array]) -> Visitor:
    def visit(value: mx.array, span: Span) -> mx.array:
        out.append(value)
        return value

    return visit


def _adding(change: mx.array, given: mx.array | None, seen: list[mx.array]) -> Visitor:
    """Add to a value, or to what is given in its place, which is kept."""

    def visit(value: mx.array, span: Span) -> mx.array:
        whole = value if given is None else given
        seen.append(mx.stop_gradient(whole))
        return whole + change.astype(whole.dtype)

    return visit


def _twice(point: Point, value: mx.array) -> mx.array:
    """The value of one position, at each of `TOKENS`."""
    return mx.repeat(value, TOKENS, axis=sequence_axis(point))


def _number(value: mx.array) -> float:
    return float(np.array(value.astype(mx.float32)))
