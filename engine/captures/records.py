"""What was captured, in numpy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from engine.components import ComponentType
from engine.field_names import field_name
from engine.taps.position_sets import are_contiguous


@dataclass(eq=False, slots=True)
class CapturedActivation:
    """One activation of one step: step 0 is the whole prompt, step k one generated token.

    `positions` are the first and last position of the sequence that `data` covers, and
    `position_list` all of them where these are not all from the first to the last. With dtype
    ``bfloat16``, for which numpy has no type, `data` is the same bits as uint16. `visit` counts
    the records of one step where a model runs through a layer several times.
    """

    hook_id: str
    layer_name: str
    layer: int | None
    component: ComponentType
    step: int
    positions: tuple[int, int]
    is_input: bool
    dtype: str
    data: np.ndarray
    visit: int = 0
    position_list: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def covered(self) -> Sequence[int]:
        """Every position that the data covers."""
        first, last = self.positions
        return range(first, last + 1) if self.position_list is None else self.position_list

    @property
    def arrays(self) -> tuple[tuple[str, str, np.ndarray], ...]:
        """The arrays that it is stored as: what each is called in it, its dtype, and itself."""
        return (("", self.dtype, self.data),)

    @classmethod
    def of_arrays(
        cls, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "CapturedActivation":
        """A record of its `scalars` and its `arrays`."""
        return cls(**values, data=arrays[""])

    @property
    def scalars(self) -> dict[str, Any]:
        """All of its fields that are no arrays."""
        names = (field.name for field in fields(self))
        found = {name: getattr(self, name) for name in names}
        return {name: each for name, each in found.items() if not isinstance(each, np.ndarray)}

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for _, _, array in self.arrays)

    @property
    def field_name(self) -> str | None:
        """What TransformerLens calls this value, if it has a name for it."""
        return field_name(self.component, self.layer, self.is_input)

    @property
    def metadata(self) -> dict[str, Any]:
        """All but the data, ready for JSON."""
        return {
            "hook_id": self.hook_id,
            "layer_name": self.layer_name,
            "layer": self.layer,
            "component": self.component.value,
            "field_name": self.field_name,
            "step": self.step,
            "positions": list(self.positions),
            "position_list": self.position_list and list(self.position_list),
            "shape": list(self.shape),
            "dtype": self.dtype,
            "byte_order": "little",
            "is_input": self.is_input,
        }


def listed(positions: Sequence[int]) -> tuple[int, ...] | None:
    """The positions of a record, if the first and the last do not say them all."""
    return None if are_contiguous(positions) else tuple(positions)


Activations = dict[str, list[CapturedActivation]]


def step_of(position: int, prompt_end: int) -> int:
    """The step of a run that a position belongs to: 0 is the prompt, which ends before
    `prompt_end`, and k its k-th token after it."""
    return max(0, position - prompt_end + 1)


def by_hook(records: Iterable[CapturedActivation]) -> Activations:
    """Records by the ids of their hooks."""
    activations: Activations = {}
    for record in records:
        activations.setdefault(record.hook_id, []).append(record)
    return activations


def numbers(data: np.ndarray, dtype: str) -> np.ndarray:
    """The data as numbers: bfloat16's bits are widened to float32."""
    if dtype != "bfloat16":
        return data
    return np.left_shift(data, 16, dtype=np.uint32).view(np.float32)
