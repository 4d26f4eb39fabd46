"""About how much memory a run takes, estimated before it begins; what cannot fit is refused.

MLX evaluates a pass layer by layer and frees what nobody needs any more. So at its peak a pass has
one layer's values, its attention scores among them, or the logits; the caches of the positions so
far; and what is captured. A GPU runs many kernels at a time and frees what they used once all of
them have run: there, about another layer's values are held.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache

from engine.captures.hooks import ResolvedHook
from engine.components import ComponentType
from engine.errors import NotEnoughMemoryError
from engine.machine.device import on_cpu
from engine.machine.gaps import gaps_explained
from engine.machine.memory import room_for
from engine.structure.resolver import Structure
from engine.structure.trace import PROMPT
from engine.taps.points import UNSEEN, Point
from engine.turns import agreed

FLOAT32 = 4
BETWEEN = 2.0
"""What a layer calculates between its hook points, as measured: values in all for each at one."""
SCANS = 6
"""States of a state space that a scan calculates for each position, at most, as measured."""
FUSED_WIDTHS = (64, 80, 128)
"""Widths of heads for which a GPU's attention kernel keeps no scores."""
LONG = 2048
"""Positions that one pass runs at most, if it can be cut; as many as mlx-lm's."""
SHORT = 32
"""Positions below which no pass is cut: there is nothing left to save."""
CACHE_STEP = 256
"""Positions by which mlx-lm's caches grow."""
COPIES = 2
"""Copies of what is captured, at most: MLX's and numpy's, or pieces and what they are joined to."""
WORKSPACE = 8 << 20
"""What a GPU's products of matrices take beside their values, at most, as measured on an H100."""
HELD = 400_000_000
"""Values that an H100 holds at most until all kernels of one graph have run."""
SQUARES = 3
"""Arrays as large as the scores where somebody looks at them: scores, masked scores, pattern."""


@dataclass(frozen=True)
class Cost:
    """Bytes by what takes them, largest part first in words."""

    parts: dict[str, int]

    @property
    def nbytes(self) -> int:
        """All of it."""
        return sum(self.parts.values())

    def with_kept(self, nbytes: int) -> "Cost":
        """The same, and what is kept of all passes."""
        return Cost({**self.parts, "what is kept": nbytes})

    def __str__(self) -> str:
        parts = sorted(self.parts.items(), key=lambda part: -part[1])
        named = ", ".join(f"{name} {in_words(size)}" for name, size in parts if size)
        return f"{in_words(self.nbytes)} ({named})"


class Footprint:
    """What the passes of one model take, in bytes, by its structure.

    `per_position` are the values of the widest layer, `cached` what the caches keep of a position
    and `fixed` what they keep whatever the length.
    """

    def __init__(self, structure: Structure):
        self._structure = structure
        layers: dict[int | None, int] = {}
        for point, shape in structure.shapes.items():
            if point.component not in UNSEEN and point.component is not ComponentType.LOGITS:
                layers[point.layer] = layers.get(point.layer, 0) + prod(shape)
        self.itemsize = _itemsize(structure.model)
        self.layers = structure.layers
        self.per_position = round(BETWEEN * self.itemsize * max(layers.values()) / PROMPT)
        self.vocab = structure.shapes[Point(None, ComponentType.LOGITS)][-1]
        patterns = {
            shape[1]
            for point, shape in structure.shapes.items()
            if point.component is ComponentType.ATTENTION_PATTERN
        }
        self.heads = max(patterns, default=0)
        self.cached, self.fixed, largest = _cache_sizes(structure.model)
        self.per_position += SCANS * largest
        self._keeps_scores = _keeps_scores(structure)

    def of_pass(
        self,
        batch: int,
        length: int,
        keys: int,
        *,
        logits: int,
        looks_at_scores: bool = False,
    ) -> Cost:
        """A pass over `length` positions that sees `keys`, with logits of so many positions."""
        arrays = SQUARES if looks_at_scores else 2 if self._keeps_scores else 0
        values = batch * length * self.per_position
        return Cost(
            {
                "attention scores": batch * self.heads * length * keys * FLOAT32 * arrays,
                "a layer's values": values,
                "what the GPU holds": 0 if on_cpu() else WORKSPACE + min(values, HELD),
                "logits": batch * logits * self.vocab * FLOAT32,
                "masks": length * keys,
                "caches": batch * (keys * self.cached + self.fixed),
            }
        )

    def of_gradients(self, batch: int, length: int) -> Cost:
        """A pass and the way back through it, for which the values of all layers are kept."""
        once = self.of_pass(batch, length, length, logits=length)
        kept = {"a layer's values": "all layers' values", "attention scores": "attention scores"}
        parts = {
            kept.get(name, name): size * 2 * (self.layers if name in kept else 1)
            for name, size in once.parts.items()
        }
        return Cost(parts)

    def of_captures(self, hooks: Sequence[ResolvedHook], batch: int, length: int) -> int:
        """The bytes of all records of a pass over whole sequences, as they are made."""
        return COPIES * of_records(self._structure, hooks, batch, length)

    def of_values(self, points: Iterable[Point], batch: int, length: int) -> int:
        """The bytes of the values at some points, as the model calculates them."""
        shapes = (self._structure.shapes[point] for point in points)
        return sum(batch * length * prod(shape) // PROMPT for shape in shapes) * self.itemsize

    def longest_pass(
        self,
        batch: int,
        length: int,
        *,
        kept: int = 0,
        logits: int | None = None,
        looks_at_scores: bool = False,
        most: int = LONG,
        can_be_cut: bool = True,
    ) -> int:
        """How many of `length` positions a pass may run: all of them up to `most`, or as many as
        fit into the memory that is available.

        `kept` are bytes that outlast the passes, and `logits` the positions whose logits a pass
        has (None: all that it runs). Raises NotEnoughMemoryError, with the figures and what
        helps, if no pass fits.
        """
        for size in _sizes(length, most, can_be_cut):
            cost = self.of_pass(
                batch,
                size,
                length,
                logits=size if logits is None else min(logits, size),
                looks_at_scores=looks_at_scores,
            ).with_kept(kept)
            available = agreed("memory", room_for(cost.nbytes))
            if cost.nbytes <= available:
                return size
        advice = "shorten the prompt, or look at fewer positions, heads or layers"
        if not can_be_cut:
            advice += "; this run cannot be cut into passes over parts of the prompt"
        raise _not_enough(cost, f"a pass over {length} positions", available, advice)

    def fits(self, batch: int, length: int) -> bool:
        """Whether one pass over whole sequences fits into the memory that is available."""
        nbytes = self.of_pass(batch, length, length, logits=1).nbytes
        return nbytes <= agreed("memory", room_for(nbytes))

    def fits_gradients(self, batch: int, length: int) -> bool:
        """Whether the way back through a pass over whole sequences fits into the memory."""
        nbytes = self.of_gradients(batch, length).nbytes
        return nbytes <= agreed("memory", room_for(nbytes))

    def check_gradients(self, batch: int, length: int) -> None:
        """Raise NotEnoughMemoryError if the way back through a pass does not fit."""
        _check(
            self.of_gradients(batch, length),
            f"gradients over {length} positions",
            "shorten the prompt: gradients need the whole of it at once",
        )

    def check_edges(self, length: int, *, written: int, read: int) -> None:
        """Raise NotEnoughMemoryError if gradients do not fit beside what all nodes write, and what
        those of a layer read, in bytes."""
        parts = self.of_gradients(1, length).parts
        _check(
            Cost({**parts, "what nodes write": 2 * written, "what a layer reads": read}),
            f"the edges over {length} positions",
            "shorten the prompts: edges need the whole of them at once",
        )

    def check_logits(self, length: int) -> None:
        """Raise NotEnoughMemoryError if the logits of so many positions do not fit."""
        cost = Cost({"logits": 2 * length * self.vocab * FLOAT32})
        _check(cost, f"the logits of {length} positions", "shorten the prompt")

    def check_parts(self, parts: dict[str, int], what: str, advice: str) -> None:
        """Raise NotEnoughMemoryError if what takes so many bytes by `parts` does not fit."""
        _check(Cost(parts), what, advice)

    def check_growth(self, positions: int) -> None:
        """Raise NotEnoughMemoryError if the caches of so many more positions do not fit."""
        cost = Cost({"caches": positions * self.cached})
        _check(cost, f"to run {positions} more positions", "lower max_tokens")


def of_records(structure: Structure, hooks: Sequence[ResolvedHook], batch: int, length: int) -> int:
    """The bytes of all records of a run over whole sequences, once they are made."""
    return sum(
        _of_value(structure, hook, point, batch, length)
        for hook in hooks
        for point, _ in hook.points
    )


def _of_value(
    structure: Structure, hook: ResolvedHook, point: Point, batch: int, length: int
) -> int:
    shape = list(structure.shapes.get(point, ()))
    rows = len(hook.positions) if isinstance(hook.positions, tuple) else length
    size = batch * rows * prod(shape) // PROMPT
    if point.component in UNSEEN:
        size = size // PROMPT * length
    if hook.heads is not None:
        size = size // shape[1] * len(hook.heads)
    return size * getattr(mx, hook.dtype).size


def looks_at_scores(points: Iterable[Point]) -> bool:
    """Whether attention calculates its scores for somebody who looks at them."""
    return any(point.component in UNSEEN for point in points)


def _sizes(length: int, most: int, can_be_cut: bool) -> Iterator[int]:
    """How many positions a pass may run, most first: all, or parts of them of one length."""
    yield length if not can_be_cut else min(length, most)
    size = min(length, most) // 2
    while can_be_cut and size >= SHORT:
        yield size
        size //= 2


def _check(cost: Cost, what: str, advice: str) -> None:
    available = agreed("memory", room_for(cost.nbytes))
    if cost.nbytes > available:
        raise _not_enough(cost, what, available, advice)


def _not_enough(cost: Cost, what: str, available: int, advice: str) -> NotEnoughMemoryError:
    return NotEnoughMemoryError(
        f"{what} needs about {cost}, and {in_words(available)} of memory are available: {advice}"
    )


def in_words(nbytes: int) -> str:
    """Bytes as MB, or as GB from one on."""
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.1f} MB"


def _itemsize(model: nn.Module) -> int:
    """The bytes of a number that the model calculates with."""
    arrays = _arrays(model.parameters())
    return max(each.dtype.size for each in arrays if mx.issubdtype(each.dtype, mx.floating))


def _arrays(tree: Any) -> Iterator[mx.array]:
    for _, leaf in cast(list[tuple[str, Any]], tree_flatten(tree)):
        if isinstance(leaf, mx.array):
            yield leaf


def _keeps_scores(structure: Structure) -> bool:
    """Whether attention's kernel keeps its scores: on a CPU, and for some widths on a GPU."""
    if on_cpu():
        return True
    widths = {s[-1] for p, s in structure.shapes.items() if p.component is ComponentType.QUERY}
    return not widths <= set(FUSED_WIDTHS)


@gaps_explained()
def _cache_sizes(model: nn.Module) -> tuple[int, int, int]:
    """Bytes that the caches keep of each position, bytes that they keep of any number, and the
    most that one layer keeps of any number, by passes that are never evaluated."""
    short, long = (_cache_bytes(model, steps * CACHE_STEP) for steps in (1, 2))
    cached = [(after - before) // CACHE_STEP for before, after in zip(short, long, strict=True)]
    fixed = [before - each * CACHE_STEP for before, each in zip(short, cached, strict=True)]
    return sum(cached), sum(fixed), max(fixed, default=0)


def _cache_bytes(model: nn.Module, length: int) -> list[int]:
    """The bytes of each cache after a pass over so many positions."""
    caches = make_prompt_cache(model)
    model(mx.zeros((1, length), dtype=mx.int32), cache=caches)
    return [sum(array.nbytes for array in _arrays(each.state)) for each in caches]
