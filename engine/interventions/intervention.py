"""Changes made to activations while the model runs, as they are asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx
import numpy as np

from engine.components import ComponentType
from engine.errors import InvalidRequestError
from engine.structure.resolver import Structure
from engine.taps.points import Point, Span
from engine.taps.position_sets import Positions

PARAMETERS = {
    "ablation": set(),
    "mean": set(),
    "scaling": {"factor"},
    "addition": {"value"},
    "replacement": {"value"},
    "patching": {"value"},
    "projection": {"value"},
    "noise": {"scale", "seed"},
    "function": {"function"},
}
"""The operations, each with the parameters that it needs; it reads no others."""


Function = Callable[[np.ndarray, Point, tuple[int, ...]], np.ndarray | None]


@dataclass(frozen=True)
class Intervention:
    """One change of a component's output, on some heads and positions (None: on all).

    `layer_name` and `component` are as in a hook. The component is None where the layer name says
    it, and a name of an input, such as ``blocks.5.hook_resid_pre``, has the input changed.

    The slice that changes has the component's shape, with only those `heads` on its head axis and
    only those `positions` on its sequence axis (of scores and pattern: the query's), in the order
    given. Positions are 0-based in the whole sequence, negative ones count from the prompt's end.
    They may also be ``prompt``, ``generated``, which are those of all tokens after the prompt,
    however many come, or ``all``, as None: in a generation a change without positions, or of the
    generated ones, is given one value for every pass, and acts on as many as there are. Where a
    layer calculates the component more than once in a pass, each is changed.

    `operation` is one of

    - ``ablation``: zero;
    - ``mean``: the mean over all positions of the sequence, selected or not; of scores and
      pattern, over the positions that see the key. Not in a generation, no pass of which has the
      whole sequence;
    - ``scaling``: times `factor`;
    - ``addition``: plus `value`, an array of the slice's shape or broadcastable to it;
    - ``replacement`` and ``patching``: `value` itself;
    - ``projection``: without its component along `value`, a direction ``[width]`` of any length:
      ``x - (x · d) d`` for the unit vector ``d`` (directional ablation, Arditi et al. 2024,
      arXiv:2406.11717);
    - ``noise``: plus Gaussian noise of standard deviation `scale`, the same for the same `seed`,
      layer, component and position, however the run is cut into passes;
    - ``function``: what ``function(slice, point, positions)`` returns for the slice in float32,
      called at each pass; None leaves it as it is.

    Edited scores and patterns take part in the pass: attention's output is calculated from them.
    What is masked out of the scores stays so. An edited key or value is what attention sees in
    this pass and, through the cache, in all later ones.

    Raises InvalidRequestError for an unknown operation, or for parameters that are not its own.
    """

    layer_name: str
    component: ComponentType | str | None
    operation: str
    heads: tuple[int, ...] | None = None
    positions: Positions = None
    factor: float | None = None
    value: np.ndarray | None = None
    scale: float | None = None
    seed: int | None = None
    function: Function | None = None

    def __post_init__(self) -> None:
        if self.operation not in PARAMETERS:
            raise InvalidRequestError(
                f"unknown operation {self.operation!r}; there are {', '.join(PARAMETERS)}"
            )
        needed = PARAMETERS[self.operation]
        for name in ("factor", "value", "scale", "seed", "function"):
            given = getattr(self, name) is not None
            if given and name not in needed:
                raise InvalidRequestError(f"{self.operation} has no parameter {name}")
            if name in needed and not given:
                raise InvalidRequestError(f"{self.operation} needs the parameter {name}")


class PointEdit(Protocol):
    """A visitor that changes the value at one point.

    `first` is the first position that it changes, `acted` says whether a value was there to
    change. `operation` is what it does.
    """

    acted: bool

    @property
    def point(self) -> Point: ...

    @property
    def operation(self) -> str: ...

    @property
    def first(self) -> int: ...

    @property
    def name(self) -> str: ...

    def __call__(self, value: mx.array, span: Span) -> mx.array: ...


class Change(Protocol):
    """An intervention that says itself what it changes: on something that is no component."""

    @property
    def operation(self) -> str: ...

    def edits(
        self, structure: Structure, prompt_end: int, run_positions: range
    ) -> Iterator[PointEdit]:
        """Its edits in one run; raises InterventionError for one that cannot act."""
        ...


AnyIntervention = Intervention | Change
