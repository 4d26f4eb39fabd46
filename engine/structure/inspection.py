"""A model's hook points as rows of a table: where each is, in which shape, or why it is not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.components import WHOLE_MODEL
from engine.components import ComponentType as C
from engine.structure.resolver import Structure
from engine.taps.points import Point, sequence_axis


@dataclass(frozen=True)
class HookPoints:
    """A component in some layers (``0-29``; of the whole model: none), where it is alike.

    `shape` names what varies, as in ``[batch, 9, seq, 64]``; it is empty where the component is
    absent for a `reason`.
    """

    component: C
    layers: str
    shape: str = ""
    reason: str = ""


def hook_points(structure: Structure) -> Iterator[HookPoints]:
    """All components of a model, those of alike layers together."""
    for component in C:
        alike: dict[tuple[str, str], list[int | None]] = {}
        for layer in [None] if component in WHOLE_MODEL else range(structure.layers):
            point = Point(layer, component)
            shape = _shape(point, structure) if point in structure.shapes else ""
            reason = structure.absent.get((layer, component), "")
            alike.setdefault((shape, reason), []).append(layer)
        for (shape, reason), layers in alike.items():
            yield HookPoints(component, _ranges(layers), shape, reason)


def _shape(point: Point, structure: Structure) -> str:
    sizes = list(map(str, structure.shapes[point]))
    sizes[0] = "batch"
    sizes[sequence_axis(point)] = "seq"
    if point.component in (C.ATTENTION_SCORES, C.ATTENTION_PATTERN):
        sizes[-1] = "seq"
    return f"[{', '.join(sizes)}]"


def _ranges(layers: Iterable[int | None]) -> str:
    """Layers as runs: ``0-3, 5``."""
    runs: list[list[int]] = []
    for layer in layers:
        if layer is None:
            continue
        if runs and runs[-1][1] == layer - 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
