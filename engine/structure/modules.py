"""Which values that modules take and return are hook points, by the modules themselves.

A module's input or output is a hook point if a tap observes it there, or if it is the same array
that another tap observes. Attention's projections take and return it in another shape, with heads
and width in one axis. A value that a layer calculates more than once in a pass belongs to no one
module.
"""

from collections import Counter
from collections.abc import Iterator

import mlx.core as mx
import mlx.nn as nn

from engine.components import ComponentType as C
from engine.structure.trace import Event, Trace
from engine.taps.attention import Kernel
from engine.taps.points import Point
from engine.taps.roles import ModuleRole, Through
from engine.taps.unfused import ValuesProduct

Roles = dict[int, tuple[nn.Module, ModuleRole]]
ModulePoints = dict[tuple[int, bool], list[Point]]
"""Points by the `id` of a module and whether they are its input; those observed there first."""


def module_points(roles: Roles, blocks: list[nn.Module], trace: Trace) -> ModulePoints:
    """The points that modules take and return, read off the trace of a pass over a prompt."""
    found: ModulePoints = {}
    for key, (_, role) in roles.items():
        for is_input, points in ((True, role.inputs), (False, role.outputs)):
            for point in points:
                _add(found, key, is_input, point)
    for layer, block in enumerate(blocks):
        for call in trace.calls(block):
            _add_of_layer(found, layer, [call, *trace.within(call)], roles)
    several = _calculated_again(trace, roles)
    return {key: [p for p in points if p not in several] for key, points in found.items()}


def _calculated_again(trace: Trace, roles: Roles) -> set[Point]:
    """The points that have several values in one pass."""
    values: dict[Point, mx.array] = {}
    several = set()
    for array, point in _arrays(trace.events, roles):
        if values.setdefault(point, array) is not array:
            several.add(point)
    kernels = Counter(
        operation.layer
        for operation in (_operation(event, roles) for event in trace.events)
        if isinstance(operation, Kernel | ValuesProduct)
    )
    attention = [layer for layer, count in kernels.items() if count > 1]
    return several | {Point(n, c) for n in attention for c in (C.HEAD_OUTPUT, C.VALUE)}


def _add(found: ModulePoints, module: int, is_input: bool, point: Point) -> None:
    points = found.setdefault((module, is_input), [])
    if point not in points:
        points.append(point)


def _add_of_layer(found: ModulePoints, layer: int, events: list[Event], roles: Roles) -> None:
    arrays = [(array, point) for array, point in _arrays(events, roles) if point.layer == layer]
    for event in _calls_made_once(events):
        for is_input, value in ((True, event.inputs[0]), (False, event.outputs[0])):
            for array, point in arrays:
                if array is value:
                    _add(found, id(event.module), is_input, point)
    for event in events:
        operation = _operation(event, roles)
        if isinstance(operation, Kernel | ValuesProduct):
            projection = _output_projection(event, events)
            if projection is not None:
                _add(found, id(projection.module), True, Point(layer, C.HEAD_OUTPUT))
        if isinstance(operation, Kernel):
            _add_maker(found, "v", event.args[2], Point(layer, C.VALUE), event, events)
        if isinstance(operation, Through):
            for index, point in operation.operands.items():
                if point.component in (C.QUERY_PRE_ROPE, C.KEY_PRE_ROPE):
                    letter = point.component[0]
                    _add_maker(found, letter, event.args[index], point, event, events)


def _calls_made_once(events: list[Event]) -> Iterator[Event]:
    """The calls of modules that have one input and one output in the pass."""
    count = Counter(id(event.module) for event in events)
    for event in events:
        is_once = event.module is not None and count[id(event.module)] == 1
        if is_once and event.inputs and event.outputs:
            yield event


def _operation(event: Event, roles: Roles) -> object:
    if event.site is None or not event.owners or id(event.owner) not in roles:
        return None
    return roles[id(event.owner)][1].operations.get(event.site)


def _arrays(events: list[Event], roles: Roles) -> Iterator[tuple[mx.array, Point]]:
    """The arrays of a pass that are values at hook points."""
    for event in events:
        if event.module is not None and id(event.module) in roles:
            role = roles[id(event.module)][1]
            for point in role.inputs if event.inputs else ():
                yield event.argument(role.argument), point
            for point in role.outputs if event.outputs else ():
                yield event.outputs[0], point
        operation = _operation(event, roles)
        if isinstance(operation, Through):
            for index, point in operation.operands.items():
                yield event.args[index], point
            if operation.result and event.outputs:
                yield event.outputs[0], operation.result


def _output_projection(attention: Event, events: list[Event]) -> Event | None:
    """The next event of the code that attends, if it is a projection of all that attention
    returns."""
    after = [e for e in events if e.frame == attention.frame and e.start > attention.end]
    after.sort(key=lambda event: event.start)
    if not after or after[0].module is None or not (after[0].inputs and attention.outputs):
        return None
    (value, result) = after[0].inputs[0], attention.outputs[0]
    return after[0] if value.size == result.size and value.ndim == 3 else None


def _add_maker(
    found: ModulePoints,
    letter: str,
    value: mx.array,
    point: Point,
    user: Event,
    events: list[Event],
) -> None:
    """The module whose output, reshaped, is what an operation takes as query, key or value."""
    makers = [
        event
        for event in events
        if event.module is not None
        and event.frame == user.frame
        and event.end < user.start
        and event.name.startswith(letter)
        and event.outputs
    ]
    if not makers:
        return
    maker = makers[-1]
    output = maker.outputs[0]
    if output.size != value.size or any(e.takes(output) for e in events if e.start > maker.end):
        return
    _add(found, id(maker.module), False, point)
