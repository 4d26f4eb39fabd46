"""From values inside a forward pass to records in numpy."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from engine.components import ComponentType
from engine.errors import CaptureTooLargeError
from engine.hooks import ResolvedHook
from engine.points import Point, Span, Visitor, sequence_axis


@dataclass(frozen=True)
class CapturedActivation:
    """One activation of one step: step 0 is the whole prompt, step k one generated token.

    `positions` are the first and last position of the sequence that `data` covers. With dtype
    ``bfloat16``, for which numpy has no type, `data` holds the same bits as uint16.
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

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def nbytes(self) -> int:
        return self.data.nbytes


Activations = dict[str, list[CapturedActivation]]


@dataclass
class Kept:
    """What one hook keeps of one pass, still an MLX array."""

    hook: ResolvedHook
    point: Point
    is_input: bool
    positions: tuple[int, int]
    array: mx.array


@dataclass
class Pass:
    """One forward pass and what was kept of it."""

    span: Span
    kept: list[Kept] = field(default_factory=list)
    stacks: list[tuple[list[Kept], mx.array]] = field(default_factory=list)


class Recorder:
    """Keeps what the hooks ask for, pass by pass, and refuses what the budget does not allow.

    `prompt_end` is the position after the prompt's last token, from which negative positions
    count.
    """

    def __init__(
        self, hooks: Sequence[ResolvedHook], prompt_end: int, budget_bytes: int | None = None
    ):
        self.hooks = hooks
        self.prompt_end = prompt_end
        self.budget_bytes = budget_bytes
        self.held_bytes = 0
        self.passes: list[Pass] = []

    def visitors(self) -> dict[Point, Visitor]:
        """One visitor for each point that a hook asks for."""
        wanted: dict[Point, list[tuple[ResolvedHook, bool]]] = {}
        for hook in self.hooks:
            for point, is_input in hook.points:
                wanted.setdefault(point, []).append((hook, is_input))
        return {point: self._visitor(point, hooks) for point, hooks in wanted.items()}

    def begin_pass(self, span: Span) -> None:
        self.passes.append(Pass(span))

    def end_pass(self) -> None:
        """Start the computation of all that was kept, equal shapes stacked into one array."""
        current = self.passes[-1]
        groups: dict[tuple, list[Kept]] = {}
        for kept in current.kept:
            groups.setdefault((kept.array.shape, kept.array.dtype), []).append(kept)
        for group in groups.values():
            current.stacks.append((group, mx.stack([kept.array for kept in group])))
            for kept in group:
                kept.array = None
        mx.async_eval([stack for _, stack in current.stacks])

    def _visitor(self, point: Point, hooks: list[tuple[ResolvedHook, bool]]) -> Visitor:
        def visit(value: mx.array, span: Span) -> mx.array:
            for hook, is_input in hooks:
                self._keep(hook, point, is_input, value, span)
            return value

        return visit

    def _keep(
        self, hook: ResolvedHook, point: Point, is_input: bool, value: mx.array, span: Span
    ) -> None:
        if hook.heads is not None:
            value = mx.take(value, mx.array(hook.heads), axis=1)
        first, last = span.first, span.first + span.length - 1
        if hook.positions is not None:
            chosen = self._positions(hook, span)
            if not chosen:
                return
            first, last = chosen[0], chosen[-1]
            index = mx.array([position - span.first for position in chosen])
            value = mx.take(value, index, axis=sequence_axis(point))
        if mx.issubdtype(value.dtype, mx.floating):
            value = value.astype(getattr(mx, hook.dtype))
        self._charge(value.nbytes)
        self.passes[-1].kept.append(
            Kept(hook, point, is_input, (first, last), mx.contiguous(value))
        )

    def _positions(self, hook: ResolvedHook, span: Span) -> list[int]:
        absolute = (p if p >= 0 else self.prompt_end + p for p in hook.positions)
        return [p for p in absolute if span.first <= p < span.first + span.length]

    def _charge(self, nbytes: int) -> None:
        needed = self.held_bytes + nbytes
        if self.budget_bytes is not None and needed > self.budget_bytes:
            raise CaptureTooLargeError(
                f"this capture needs at least {needed} bytes; the budget is {self.budget_bytes}"
            )
        self.held_bytes = needed


def records(passes: Sequence[Pass], step: int) -> Activations:
    """The records of one step, made of one pass or of a prompt's chunks joined in order."""
    pieces: dict[tuple[str, bool], list[tuple[Kept, np.ndarray]]] = {}
    for each in passes:
        for group, stack in each.stacks:
            values = _to_numpy(stack)
            for kept, value in zip(group, values, strict=True):
                pieces.setdefault((kept.hook.hook_id, kept.is_input), []).append((kept, value))
    activations: Activations = {}
    for (hook_id, is_input), parts in pieces.items():
        hook = parts[0][0].hook
        activations.setdefault(hook_id, []).append(
            CapturedActivation(
                hook_id=hook_id,
                layer_name=hook.layer_name,
                layer=hook.layer,
                component=hook.component,
                step=step,
                positions=(parts[0][0].positions[0], parts[-1][0].positions[1]),
                is_input=is_input,
                dtype=_dtype_name(hook, parts[0][1]),
                data=_stitched([value for _, value in parts], parts[0][0].point),
            )
        )
    return activations


def _to_numpy(stack: mx.array) -> np.ndarray:
    return np.array(stack.view(mx.uint16) if stack.dtype == mx.bfloat16 else stack)


def _dtype_name(hook: ResolvedHook, data: np.ndarray) -> str:
    return "bfloat16" if data.dtype == np.uint16 and hook.dtype == "bfloat16" else data.dtype.name


def _stitched(parts: list[np.ndarray], point: Point) -> np.ndarray:
    if point.component in (ComponentType.ATTENTION_SCORES, ComponentType.ATTENTION_PATTERN):
        keys = max(part.shape[-1] for part in parts)
        fill = 0.0 if point.component is ComponentType.ATTENTION_PATTERN else -np.inf
        parts = [
            np.pad(part, [(0, 0)] * 3 + [(0, keys - part.shape[-1])], constant_values=fill)
            for part in parts
        ]
    if len(parts) == 1:
        return np.ascontiguousarray(parts[0])
    return np.concatenate(parts, axis=sequence_axis(point))
