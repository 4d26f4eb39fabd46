"""Changes made to activations while the model runs."""

from dataclasses import dataclass

import numpy as np

from engine.components import ComponentType


@dataclass(frozen=True)
class Intervention:
    """One change at one hook point; `operation` says which of the other fields it reads."""

    layer_name: str
    component: ComponentType | str
    operation: str
    heads: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None
    factor: float | None = None
    value: np.ndarray | None = None
    scale: float | None = None
    seed: int | None = None
