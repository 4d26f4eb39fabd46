"""The unit in which activations are trained on, and the place that they lie around."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

GEOMETRIC_MEDIAN_STEPS = 100


@dataclass(frozen=True)
class Scale:
    """Factors that bring the norms of inputs, and of outputs, to the square root of their width, on
    average."""

    inputs: float
    outputs: float

    @classmethod
    def of(cls, inputs: np.ndarray, outputs: np.ndarray) -> "Scale":
        """The factors of ``[rows, width]`` each."""
        return cls(_factor(inputs), _factor(outputs))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _factor(rows: np.ndarray) -> float:
    norm = float(np.linalg.norm(rows.astype(np.float64), axis=-1).mean())
    return rows.shape[-1] ** 0.5 / norm if norm else 1.0


def geometric_median(rows: np.ndarray) -> np.ndarray:
    """The point ``[width]`` with the least sum of distances to rows ``[rows, width]``.

    Unlike the mean it does not follow a few rows that are very long (Weiszfeld's method).
    """
    rows = rows.astype(np.float64)
    median = rows.mean(axis=0)
    for _ in range(GEOMETRIC_MEDIAN_STEPS):
        distance = np.linalg.norm(rows - median, axis=-1)
        weights = 1 / np.maximum(distance, 1e-8)
        moved = weights @ rows / weights.sum()
        done = np.linalg.norm(moved - median) <= 1e-6 * np.linalg.norm(moved)
        median = moved
        if done:
            break
    return median.astype(np.float32)
