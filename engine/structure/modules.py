"""Which hook points are what goes into a module of a layer, or what comes out of it.

A module's path says so only where no norm, gate or factor is between, so it is read off the trace:
the array that a module takes or returns is the very one at the hook point.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import prod

import mlx.core as mx
import mlx.nn as nn

from engine.components import ComponentType as C
from engine.structure.trace import Event, Trace
from engine.taps.points import Point
from engine.taps.roles import ModuleRole, Through

ModulePoints = dict[tuple[int, str, bool], Point]
"""By layer, path of a module in it, and whether the module's input is meant."""


def module_points(
    model: nn.Module,
    blocks: list[nn.Module],
    roles: Iterable[tuple[nn.Module, ModuleRole]],
    trace: Trace,
) -> ModulePoints:
    """The hook points at the modules of each layer; a layer itself has the path ''."""
    paths = {id(module): path for path, module in model.named_modules()}
    places: dict[int, tuple[int, str]] = {}
    for layer, block in enumerate(blocks):
        whole = paths[id(block)]
        for _, module in block.named_modules():
            path = paths[id(module)]
            places.setdefault(id(module), (layer, path.removeprefix(whole).lstrip(".")))
    calls = Counter(id(event.module) for event in trace.events if event.module is not None)
    found: ModulePoints = {}
    for module, is_input, point in _at_modules(list(roles), trace):
        place = places.get(id(module))
        if place is not None and point.layer == place[0] and calls[id(module)] == 1:
            found.setdefault((*place, is_input), point)
    return found


def _at_modules(
    roles: list[tuple[nn.Module, ModuleRole]], trace: Trace
) -> Iterator[tuple[nn.Module, bool, Point]]:
    for module, role in roles:
        yield from ((module, True, point) for point in role.inputs)
        yield from ((module, False, point) for point in role.outputs)
    calls = [event for event in trace.events if event.module is not None]
    for module, role in roles:
        for site, operation in role.operations.items():
            for event in trace.events:
                if event.site == site and event.owners and event.owner is module:
                    if isinstance(operation, Through):
                        yield from _through(event, operation, calls)
                    for point in operation.points:
                        if point.component is C.HEAD_OUTPUT:
                            yield from _output_projection(event, point, trace)


def _through(
    event: Event, operation: Through, calls: list[Event]
) -> Iterator[tuple[nn.Module, bool, Point]]:
    values = [(event.args[index], point) for index, point in operation.operands.items()]
    if operation.result and event.outputs:
        values.append((event.outputs[0], operation.result))
    for value, point in values:
        for call in calls:
            if call.module is not None and call.outputs[:1] and call.outputs[0] is value:
                yield call.module, False, point
            if call.module is not None and call.inputs[:1] and call.inputs[0] is value:
                yield call.module, True, point


def _output_projection(
    event: Event, point: Point, trace: Trace
) -> Iterator[tuple[nn.Module, bool, Point]]:
    """The module that takes all heads' outputs side by side, if nothing changes them before."""
    if not event.outputs or point.is_input:
        return
    later = [e for e in trace.events if e.frame == event.frame and e.start > event.end]
    following = min(later, key=lambda e: e.start, default=None)
    if following is None or following.module is None or not following.inputs:
        return
    if following.inputs[0].shape[-1] == _heads_width(event.outputs[0]):
        yield following.module, True, point


def _heads_width(heads: mx.array) -> int:
    """The width of ``[batch, heads, seq, d_head]``, or of groups of heads, side by side."""
    return prod(heads.shape[1:-2]) * heads.shape[-1]
