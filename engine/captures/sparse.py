"""Records of values that are mostly 0: which are not, and what they are, position by position."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.captures.records import CapturedActivation


@dataclass(eq=False, slots=True)
class SparseActivation(CapturedActivation):
    """The features of one step that are not 0, of `n_features` of the set `feature_set`.

    `data` are their values in float32 ``[n]``, `indices` which they are in int32 ``[n]``, in
    ascending order at each position; the positions follow each other, sequence by sequence, and
    those of the k-th are from ``offsets[k]`` to ``offsets[k + 1]``, in int32. The `component` is
    the one that was encoded.
    """

    feature_set: str = ""
    n_features: int = 0
    sequences: int = 1
    indices: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    offsets: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int32))

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all features: ``(sequences, positions, n_features)``."""
        return self.sequences, (len(self.offsets) - 1) // self.sequences, self.n_features

    @property
    def arrays(self) -> tuple[tuple[str, str, np.ndarray], ...]:
        return (
            ("indices", "int32", self.indices),
            ("values", "float32", self.data),
            ("offsets", "int32", self.offsets),
        )

    @classmethod
    def of_arrays(
        cls, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "SparseActivation":
        return cls(
            **values,
            data=arrays["values"],
            indices=arrays["indices"],
            offsets=arrays["offsets"],
        )

    @property
    def metadata(self) -> dict:
        return {**CapturedActivation.metadata.fget(self), "feature_set": self.feature_set}  # type: ignore[attr-defined]

    def positions_of_sequences(self) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
        """For each sequence the indices and the values at each of its positions."""
        _, positions, _ = self.shape
        bounds = list(zip(self.offsets, self.offsets[1:], strict=False))
        for first in range(0, len(bounds), positions):
            yield [(self.indices[a:b], self.data[a:b]) for a, b in bounds[first:][:positions]]

    def dense(self) -> np.ndarray:
        """All features, ``[sequences, positions, n_features]``."""
        rows = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        whole = np.zeros((len(self.offsets) - 1, self.n_features), np.float32)
        whole[rows, self.indices] = self.data
        return whole.reshape(self.shape)


def sparse_rows(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices, values and offsets of a matrix ``[rows, n]``, as in a `SparseActivation`."""
    rows, indices = np.nonzero(dense)
    counts = np.bincount(rows, minlength=len(dense))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return indices.astype(np.int32), dense[rows, indices], offsets


def type_of_fields(values: Mapping[str, Any]) -> type[CapturedActivation]:
    """The class of a record, by its `scalars`."""
    return SparseActivation if "feature_set" in values else CapturedActivation
