"""Changes of features, as they are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.errors import (
    InterventionError,
    InvalidRequestError,
    UnknownFeatureError,
    UnknownLayerError,
    UnknownPositionError,
)
from engine.features.bound import BoundSet
from engine.features.edits import FeatureEdit, SpliceEdit
from engine.interventions.intervention import PointEdit
from engine.structure.resolver import Structure
from engine.taps.position_sets import Positions, positions_of_run

PARAMETERS = {
    "ablation": set(),
    "scaling": {"factor"},
    "addition": {"value"},
    "replacement": {"value"},
    "splicing": set(),
}
"""The operations, each with the parameters that it needs; it reads no others."""


@dataclass(frozen=True)
class FeatureIntervention:
    """One change of features of a set on a model.

    The model's value keeps what the set does not reconstruct: with the features f of the value
    that is there and the changed ones f', ``(f' - f) @ W_dec`` is added to what the set writes,
    and nothing else changes. A cross-layer transcoder's features write several layers; `layer` is
    the one that has them.

    `operation` is one of

    - ``ablation``: f' = 0;
    - ``scaling``: f' = `factor` f;
    - ``replacement``: f' = `value`, of shape ``[n]`` for n `features`, or broadcastable to
      ``[positions, n]``;
    - ``addition``: f' = f + `value`: steering by the decoder's directions, whatever f is;
    - ``splicing``, which has no `features`: the reconstruction takes the value's place, and the
      error is lost.

    Positions are as in an `Intervention`; a value is for each of them. Raises InvalidRequestError
    for an unknown operation, or for parameters that are not its own.
    """

    bound: BoundSet
    operation: str
    features: tuple[int, ...] = ()
    layer: int | None = None
    positions: Positions = None
    factor: float | None = None
    value: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.operation not in PARAMETERS:
            known = ", ".join(PARAMETERS)
            raise InvalidRequestError(
                f"operation {self.operation!r} of features is none of {known}"
            )
        given = {name for name in ("factor", "value") if getattr(self, name) is not None}
        needed = PARAMETERS[self.operation]
        if given != needed:
            needs = " and ".join(sorted(needed)) or "neither factor nor value"
            raise InvalidRequestError(f"{self.operation} of features needs {needs}")
        if bool(self.features) is (self.operation == "splicing"):
            what = "needs no" if self.features else "needs"
            raise InvalidRequestError(f"{self.operation} {what} features")
        if len(set(self.features)) < len(self.features):
            raise InvalidRequestError(f"{self.operation} of features names one twice")

    def edits(
        self, structure: Structure, prompt_end: int, run_positions: range
    ) -> Iterator[PointEdit]:
        """Its edits in one run. Raises InterventionError for one that cannot act."""
        what = f"{self.operation} of features of {self.bound.set_id}"
        if structure is not self.bound.structure:
            raise InterventionError(f"{what} cannot act: it is a set of another model")
        try:
            self.bound.check_features(self.features)
            layers = self.bound.layers_named(self.layer)
            positions = positions_of_run(self.positions, prompt_end, run_positions)
        except (UnknownFeatureError, UnknownLayerError, UnknownPositionError) as reason:
            raise InterventionError(f"{what} cannot act: {reason}") from reason
        if isinstance(positions, tuple) and len(set(positions)) < len(positions):
            raise InterventionError(f"{what} names a position twice")
        if self.operation == "splicing":
            yield from SpliceEdit(self.bound, positions, what).edits()
            return
        if len(layers) > 1:
            known = ", ".join(str(each.reads.point.layer) for each in layers)
            raise InterventionError(f"{what} needs a layer, one of {known}")
        yield from FeatureEdit(
            layers[0],
            self.operation,
            self.features,
            positions,
            self.factor,
            self.value,
            what,
        ).edits()
