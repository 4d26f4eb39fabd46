"""A steering vector: for each of some layers a direction of its residual stream."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from engine.errors import InvalidRequestError


@dataclass(frozen=True)
class SteeringVector:
    """Directions ``[hidden]`` in float32, by layer: that of layer l is of the stream after block l.

    `architecture` is mlx-lm's `model_type` of the model that they were found on, if it is known,
    and `about` says how they were found, in words.

    Raises InvalidRequestError for no directions, or for one that is zero, not finite, or of another
    width than the others.
    """

    directions: Mapping[int, np.ndarray]
    architecture: str | None = None
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.directions:
            raise InvalidRequestError("a steering vector needs a direction of at least one layer")
        widths = {np.shape(direction) for direction in self.directions.values()}
        if len(widths) > 1 or len(next(iter(widths))) != 1:
            raise InvalidRequestError(
                f"directions have one axis and one width, not the shapes {sorted(widths)}"
            )
        for layer, direction in self.directions.items():
            if layer < 0:
                raise InvalidRequestError(f"there is no layer {layer}")
            if not np.isfinite(direction).all():
                raise InvalidRequestError(f"the direction of layer {layer} is not finite")
            if not np.any(direction):
                raise InvalidRequestError(f"the direction of layer {layer} is zero")

    @property
    def layers(self) -> list[int]:
        """The layers that have a direction, in order."""
        return sorted(self.directions)

    @property
    def width(self) -> int:
        """How many numbers a direction has."""
        return len(next(iter(self.directions.values())))

    def norm(self, layer: int) -> float:
        """The Euclidean length of a layer's direction."""
        return float(np.linalg.norm(self.directions[layer].astype(np.float64)))
