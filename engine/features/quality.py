"""How well a feature set reconstructs a model's values, and what the model loses by it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from engine.captures.hooks import ResolvedHook
from engine.captures.records import CapturedActivation
from engine.errors import InvalidRequestError
from engine.features.bound import AT_ONCE, BoundLayer, BoundSet
from engine.features.cross_layer import CrossLayerTranscoder
from engine.features.edits import At, ValueEdit
from engine.features.interventions import FeatureIntervention
from engine.features.values import ValueForm
from engine.interventions.intervention import Change, PointEdit
from engine.runs.kit import ModelKit
from engine.runs.scoring import score
from engine.structure.resolver import Structure
from engine.taps.position_sets import Positions, positions_of_run

Progress = Callable[[int, int], None]
RUNS = 4
"""Each sequence is run as it is, with reconstructions, with zeros and with means."""


@dataclass(frozen=True)
class LayerQuality:
    """Of the reconstructions of one value, over all positions that count.

    `explained_variance` is ``1 - sum |y - y'|^2 / sum |y - mean(y)|^2``, None if the values do not
    vary, `mse` the mean of the squared errors of all numbers, `l0` how many features are not 0 at a
    position, in the mean, and `active` the share of the features that are not 0 at some position.
    """

    layer: int | None
    explained_variance: float | None
    mse: float
    l0: float
    active: float


@dataclass(frozen=True)
class Quality:
    """Losses are means over all predicted tokens, in nats: of the model as it is, with the
    reconstructions in the place of the values that the set writes, with zeros there, and with each
    value's mean. `loss_recovered` is ``(zero - reconstructed) / (zero - clean)``, and
    `loss_recovered_from_mean` the same from the means; None where nothing was lost.
    """

    positions: int
    predicted: int
    layers: tuple[LayerQuality, ...]
    loss: float
    loss_reconstructed: float
    loss_zero: float
    loss_mean: float

    @property
    def loss_recovered(self) -> float | None:
        return self._recovered(self.loss_zero)

    @property
    def loss_recovered_from_mean(self) -> float | None:
        return self._recovered(self.loss_mean)

    def _recovered(self, ablated: float) -> float | None:
        lost = ablated - self.loss
        return (ablated - self.loss_reconstructed) / lost if lost else None


def measure(
    kit: ModelKit,
    bound: BoundSet,
    sequences: Sequence[Sequence[int]],
    *,
    exclude_special_tokens: bool = False,
    skipped: int = 0,
    progress: Progress = lambda done, total: None,
) -> Quality:
    """Measure a set over token sequences, one after another.

    Positions of special tokens, if they are excluded, and the first `skipped` ones of a sequence
    neither count nor are they changed; their losses do. `progress` is called with how many runs of
    how many are done. Raises InvalidRequestError for a sequence of one token, which predicts
    nothing, or if no position is left, and what `score` raises.
    """
    counted = [_counted(kit, tokens, exclude_special_tokens, skipped) for tokens in sequences]
    if not any(counted):
        raise InvalidRequestError("no position is left that is neither special nor skipped")
    total, done = RUNS * len(sequences), 0

    def loss(tokens: Sequence[int], hooks: Sequence[ResolvedHook], *changes: Change):
        nonlocal done
        scores = score(kit, tokens, hooks, changes)
        done += 1
        progress(done, total)
        logprobs = [each.logprob for each in scores.tokens[1:] if each.logprob is not None]
        return -float(np.sum(logprobs)), scores.activations

    tallies = [_Tally(layer) for layer in bound.layers]
    clean = 0.0
    for tokens, positions in zip(sequences, counted, strict=True):
        if not positions:
            clean += loss(tokens, ())[0]
            continue
        nats, activations = loss(tokens, list(_hooks(bound, kit.structure, positions)))
        clean += nats
        _tally(bound, tallies, {name: each[0] for name, each in activations.items()})
    means = [tally.mean for tally in tallies]
    sums = np.zeros(3)
    for tokens, positions in zip(sequences, counted, strict=True):
        changes: list[tuple[Change, ...]] = [(), (), ()]
        if positions:
            changes = [
                (FeatureIntervention(bound, "splicing", positions=positions),),
                (_Constant(bound, [np.zeros_like(mean) for mean in means], positions),),
                (_Constant(bound, means, positions),),
            ]
        sums += [loss(tokens, (), *each)[0] for each in changes]
    predicted = sum(len(tokens) - 1 for tokens in sequences)
    return Quality(
        sum(map(len, counted)),
        predicted,
        tuple(tally.quality for tally in tallies),
        clean / predicted,
        *(float(each) / predicted for each in sums),
    )


def _counted(kit: ModelKit, tokens: Sequence[int], exclude: bool, skipped: int) -> tuple[int, ...]:
    if len(tokens) < 2:
        raise InvalidRequestError("a sequence needs at least 2 tokens: the first predicts the next")
    special = kit.special_tokens if exclude else ()
    return tuple(at for at, token in enumerate(tokens) if at >= skipped and token not in special)


class _Tally:
    """Sums over the positions of one layer's values and reconstructions, in double precision."""

    def __init__(self, layer: BoundLayer):
        self._layer = layer.reads.point.layer
        self._count = 0
        self._sum: np.ndarray | None = None
        self._squares = self._errors = self._nonzero = 0.0
        self._seen: np.ndarray | None = None

    def add(self, target: np.ndarray, reconstruction: np.ndarray, features: np.ndarray) -> None:
        target = target.astype(np.float64)
        total, seen = target.sum(0), (features != 0).any(0)
        self._count += len(target)
        self._sum = total if self._sum is None else self._sum + total
        self._seen = seen if self._seen is None else self._seen | seen
        self._squares += float((target**2).sum())
        self._errors += float(((target - reconstruction) ** 2).sum())
        self._nonzero += np.count_nonzero(features)

    @property
    def mean(self) -> np.ndarray:
        assert self._sum is not None, "something was added"
        return self._sum / self._count

    @property
    def quality(self) -> LayerQuality:
        assert self._seen is not None, "something was added"
        variance = self._squares - self._count * float((self.mean**2).sum())
        return LayerQuality(
            self._layer,
            1 - self._errors / variance if variance > 0 else None,
            self._errors / (self._count * len(self.mean)),
            self._nonzero / self._count,
            float(self._seen.mean()),
        )


def _tally(
    bound: BoundSet, tallies: Sequence[_Tally], captured: dict[str, CapturedActivation]
) -> None:
    """Add one sequence, some positions at a time."""
    read = [_flat(layer.reads, captured[f"reads {n}"]) for n, layer in enumerate(bound.layers)]
    written = [
        _flat(layer.writes[0], captured[f"writes {n}"]) for n, layer in enumerate(bound.layers)
    ]
    whole = bound.feature_set
    for first in range(0, len(read[0]), AT_ONCE):
        here = slice(first, first + AT_ONCE)
        values = [each[here] for each in read]
        features = [layer.layer.encoder(x) for layer, x in zip(bound.layers, values, strict=True)]
        for n, tally in enumerate(tallies):
            if isinstance(whole, CrossLayerTranscoder):
                decoded = whole.decode_layer(n, features, values[n])
            else:
                decoded = whole.decode(features[n], values[n])
            tally.add(np.array(written[n][here]), np.array(decoded), np.array(features[n]))


def _flat(form: ValueForm, record: CapturedActivation) -> mx.array:
    return form.flat_record(record.data)[0]


def _hooks(
    bound: BoundSet, structure: Structure, positions: tuple[int, ...]
) -> Iterator[ResolvedHook]:
    """Hooks on what each layer reads and writes."""
    for number, layer in enumerate(bound.layers):
        for what, form in (("reads", layer.reads), ("writes", layer.writes[0])):
            yield ResolvedHook(
                hook_id=f"{what} {number}",
                layer_name=what,
                layer=form.point.layer,
                component=form.point.component,
                points=((form.point, form.point.is_input),),
                positions=positions,
                heads=None,
                dtype="float32",
                exclude_special_tokens=False,
            )


@dataclass(frozen=True)
class _Constant:
    """Puts one vector in the place of each value that a set writes."""

    bound: BoundSet
    vectors: Sequence[np.ndarray]
    positions: Positions
    operation: str = "replacement"

    def edits(
        self, structure: Structure, prompt_end: int, run_positions: range
    ) -> Iterator[PointEdit]:
        positions = positions_of_run(self.positions, prompt_end, run_positions)
        for layer, vector in zip(self.bound.layers, self.vectors, strict=True):
            at = _always(mx.array(vector.astype(np.float32)))
            yield ValueEdit("replacement by a constant", layer.writes[0], positions, at)


def _always(row: mx.array) -> At:
    return lambda value, where: mx.broadcast_to(row, value.shape)
