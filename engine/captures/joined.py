"""Values of one pass that are evaluated and moved to the host together."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from engine.captures.host_memory import on_host
from engine.captures.records import CapturedActivation, listed
from engine.captures.subsets import Selection


@dataclass(eq=False, slots=True)
class Joined:
    """`count` alike values of one pass, joined on the first axis: ``[count * batch, …]``."""

    count: int
    part: mx.array | None
    _host: tuple[np.ndarray, bool] | None = None

    @property
    def kept(self) -> mx.array:
        """The values, until they are moved to the host."""
        assert self.part is not None, "they are moved once"
        return self.part

    def on_host(self) -> tuple[np.ndarray, bool]:
        """The values in numpy, ``[count, batch, …]``, and whether they are a copy of MLX's.

        MLX's memory is given back. To be called by the delivering thread alone.
        """
        if self._host is None:
            array, is_copy = on_host(self.kept)
            self.part = None
            self._host = array.reshape(self.count, -1, *array.shape[1:]), is_copy
        return self._host


@dataclass(eq=False, slots=True)
class JoinedValues:
    """What alike selections of one run keep of one pass, at `positions`.

    Several runs may share a pass: then the values of this one are in the `row` of the batch, with
    the newest `keys` of its last axis, if that counts keys. `nbytes` are those of all records.
    """

    selections: Sequence[Selection]
    positions: Sequence[int]
    nbytes: int
    joined: Joined = field(repr=False)
    row: int | None = None
    keys: int | None = None

    def to_host(self, step: int, visits: Counter[Selection]) -> Iterator[CapturedActivation]:
        """A record of each value in numpy.

        `visits` counts the values of each selection: a pass may visit a point several times, as
        looped layers do.
        """
        part, is_copy = self.joined.on_host()
        if self.row is not None:
            part, is_copy = part[:, self.row : self.row + 1], False
        if self.keys is not None:
            part = part[..., part.shape[-1] - self.keys :]
        rows, dtype = self.selections[0].subset.rows(part, is_copy)
        position_list = listed(self.positions)
        for selection, row in zip(self.selections, rows, strict=True):
            hook, visit = selection.hook, visits[selection]
            visits[selection] += 1
            yield CapturedActivation(
                hook_id=hook.hook_id,
                layer_name=hook.layer_name,
                layer=hook.layer,
                component=hook.component,
                step=step,
                positions=(self.positions[0], self.positions[-1]),
                is_input=selection.is_input,
                dtype=dtype,
                data=row,
                visit=visit,
                position_list=position_list,
            )
