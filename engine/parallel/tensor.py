"""Tensor parallelism: each rank has some of the heads and neurons of every layer.

mlx-lm's own `shard` splits the modules. Which values are in parts then is found by two passes: one
of the whole model, which is never evaluated, says what shapes values have, and one of the ranks
together tells the sums that have not been added up yet, which have the whole shape, from what all
ranks have alike.
"""

from collections.abc import Mapping

import mlx.core as mx
import mlx.nn as nn

from engine.components import ComponentType as C
from engine.errors import UnsupportedModelError
from engine.parallel.ranks import Ranks
from engine.structure.resolver import Structure, resolve
from engine.structure.trace import PROMPT
from engine.taps.observation import observed
from engine.taps.points import Point, Visitor, canonical, sequence_axis
from engine.taps.shares import Share, Slices, Summands

ALIKE = 0.05
"""How far, in parts of its norm, a value may differ between ranks that both have all of it: ranks
on unlike processors round otherwise; summands are as far apart as they are large."""


class TensorParallel:
    """Splits a model whose weights have not been read yet, and says where the parts are."""

    def __init__(self, ranks: Ranks):
        self._ranks = ranks
        self._whole: dict[Point, tuple[int, ...]] = {}

    def split(self, model: nn.Module) -> None:
        """Keep this rank's part. Raises UnsupportedModelError, which names what cannot be split."""
        size = self._ranks.size
        if not hasattr(model, "shard"):
            raise UnsupportedModelError(
                f"mlx-lm cannot spread {kind_of(model)} over ranks by tensors (it has no shard)"
            )
        self._whole = resolve(model).shapes
        check_heads(self._whole, size)
        try:
            model.shard(self._ranks.group)
        except (ValueError, TypeError, RuntimeError) as reason:
            raise UnsupportedModelError(
                f"mlx-lm does not spread {kind_of(model)} over {size} ranks: {reason}"
            ) from reason

    def structure(self, model: nn.Module) -> Structure:
        """The hook points of a model that was split and whose weights have been read."""
        structure = resolve(model)
        slices: dict[int, Share] = {}
        summands = Summands(self._ranks.group)
        pass_of_ranks = _values(structure)
        for point, local in structure.shapes.items():
            whole = self._whole[point]
            if axis := _split_axis(point, whole, local, self._ranks.size):
                structure.shares[point] = slices.setdefault(axis, Slices(self._ranks.group, axis))
            elif self._differs(pass_of_ranks[point]):
                structure.shares[point] = summands
        structure.shapes = {point: self._whole[point] for point in structure.shapes}
        return structure

    def _differs(self, value: mx.array) -> bool:
        """Whether ranks have a value otherwise than the first of them has it."""
        value = mx.where(mx.isfinite(value), value, 0).astype(mx.float32)
        first = mx.distributed.all_gather(value[None], group=self._ranks.group)[0]
        far = mx.linalg.norm((value - first).flatten()) > ALIKE * mx.linalg.norm(first.flatten())
        return any(self._ranks.each(bool(far.item())))


def check_heads(shapes: Mapping[Point, tuple[int, ...]], size: int) -> None:
    """Raise UnsupportedModelError if so many ranks cannot have as many heads each."""
    heads = {
        shape[1]
        for point, shape in shapes.items()
        if point.component in (C.QUERY, C.KEY) and not point.is_input
    }
    if odd := sorted(count for count in heads if count % size):
        fitting = [n for n in range(2, max(heads) + 1) if not any(h % n for h in heads)]
        raise UnsupportedModelError(
            f"{size} ranks cannot share {' and '.join(map(str, odd))} heads equally; "
            f"this model can be shared by {', '.join(map(str, fitting)) or 'no number of'} ranks"
        )


def kind_of(model: nn.Module) -> str:
    """What mlx-lm calls an architecture."""
    return type(model).__module__.rpartition(".")[-1]


def _split_axis(
    point: Point, whole: tuple[int, ...], local: tuple[int, ...], size: int
) -> int | None:
    """The axis, counted from the last, that a rank has a slice of; None if it has all axes."""
    split = [
        axis for axis, (all_of, own) in enumerate(zip(whole, local, strict=True)) if all_of != own
    ]
    if not split:
        return None
    if len(split) > 1 or whole[split[0]] != size * local[split[0]]:
        raise UnsupportedModelError(
            f"{point.default_id} is {list(local)} on this rank and {list(whole)} in the whole "
            f"model, which is no slice of {size}"
        )
    return split[0] - len(whole)


def _values(structure: Structure) -> dict[Point, mx.array]:
    """This rank's values of a pass of all ranks."""
    seen: dict[Point, mx.array] = {}

    def visitor(point: Point) -> Visitor:
        def visit(value: mx.array, span) -> mx.array:
            seen[point] = canonical(value, sequence_axis(point), 1, PROMPT)
            return value

        return visit

    tokens = mx.arange(PROMPT, dtype=mx.int32)[None]
    with observed(structure, {point: visitor(point) for point in structure.shapes}):
        logits = structure.logits(tokens)
    mx.eval(logits, list(seen.values()))
    return seen
