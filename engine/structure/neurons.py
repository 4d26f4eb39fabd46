"""The neurons of an MLP: what its activation function and its down projection are given.

An MLP is a call that projects tokens to its neurons, applies an activation function and projects
back. The projections and the function are read off the trace by what they take and return, so it
does not matter how a model names them, nor whether gate and up are one projection or two.
"""

import inspect
from dataclasses import dataclass
from typing import cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from engine.components import ComponentType as C
from engine.structure.experts import expert_calls
from engine.structure.stream import is_mlp, is_norm
from engine.structure.trace import Event
from engine.taps.experts import RowOrder
from engine.taps.instrument import sources
from engine.taps.points import Point
from engine.taps.roles import RoleOf, add_point, through

ARITHMETIC = frozenset({"add", "mul", "matmul"})
SORTING = "_gather_sort"


@dataclass(frozen=True, eq=False)
class Network:
    """One MLP in a pass: its projections up (one, or gate and up) and down, and between them the
    call of the activation function, whose argument number `gate` comes before the nonlinearity.
    """

    ups: list[Event]
    activation: Event
    gate: int
    down: Event


def map_neurons(layer: int, events: list[Event], role_of: RoleOf) -> None:
    """Give hook points to the neurons of a layer, of which these are the events.

    They are those of its experts where there are some that run together, otherwise of its MLPs.
    """
    experts = expert_calls(events)
    for call in experts:
        for network in _networks([call], events):
            _map_network(layer, network, call, role_of)
    if not experts:
        calls = [event for event in events if event.module is not None and is_mlp(event)]
        for network in _networks(calls, events):
            _map_network(layer, network, None, role_of)


def _networks(calls: list[Event], events: list[Event]) -> list[Network]:
    """The MLPs in calls of modules, innermost first; one that contains others is none itself."""
    found: list[tuple[Event, Network]] = []
    modules = [event for event in events if event.module is not None]
    candidates = [e for e in modules if any(e is call or e.is_within(call) for call in calls)]
    for call in sorted(candidates, key=lambda event: -len(event.owners)):
        if not any(inner.is_within(call) for inner, _ in found):
            network = _network_of([event for event in events if event.frame == call.opens])
            if network is not None:
                found.append((call, network))
    return [network for _, network in found]


def _network_of(frame: list[Event]) -> Network | None:
    """The MLP that the events of one call's own code make up."""
    projections = [event for event in frame if _projects(event)]
    if len(projections) < 2:
        return None
    *ups, down = projections
    if ups[0].inputs[0].shape[-1] != down.outputs[0].shape[-1]:
        return None
    width = down.inputs[0].shape[-1]
    between = (e for e in frame if ups[0].end < e.start and e.end < down.start)
    for event in between:
        wide = _arguments_of_width(event, width)
        if wide and event.outputs and event.outputs[0].shape[-1] == width:
            return Network(ups, event, _gate(event, wide), down)
    return None


def _map_network(layer: int, network: Network, experts: Event | None, role_of: RoleOf) -> None:
    gate, hidden = Point(layer, C.MLP_GATE), Point(layer, C.MLP_HIDDEN)
    into = role_of(network.down.called)
    add_point(into.inputs, hidden)
    value = network.activation.args[network.gate]
    maker = next((event for event in network.ups if event.outputs[0] is value), None)
    if maker is not None:
        add_point(role_of(maker.called).outputs, gate)
    elif network.activation.module is None:
        operations = role_of(network.activation.owner).operations
        through(operations, network.activation.operation).operands[network.gate] = gate
    if experts is not None:
        for projection in (*network.ups, network.down):
            role_of(projection.called).runs_experts = True
        operations = role_of(experts.called).operations
        for site, source in sources.items():
            if source.operation == SORTING:
                operations[site] = RowOrder(layer)


def _projects(event: Event) -> bool:
    """Whether an event is the call of a linear layer: a module with a matrix, of rows."""
    if event.module is None or not (event.inputs and event.outputs):
        return False
    if min(event.inputs[0].ndim, event.outputs[0].ndim) < 2:
        return False
    return any(array.ndim >= 2 for array in _parameters(event.called))


def _parameters(module: nn.Module) -> list[mx.array]:
    return [
        array for _, array in cast(list[tuple[str, mx.array]], tree_flatten(module.parameters()))
    ]


def _arguments_of_width(event: Event, width: int) -> list[int]:
    """Which arguments of what may be an activation function are as wide as the neurons."""
    is_arithmetic = event.site is not None and event.source.operation in ARITHMETIC
    if is_arithmetic or is_norm(event) or _projects(event):
        return []
    return [
        index
        for index, value in enumerate(event.args)
        if isinstance(value, mx.array) and value.ndim >= 2 and value.shape[-1] == width
    ]


def _gate(activation: Event, wide: list[int]) -> int:
    """Which of the wide arguments is the gate, by its name; the first if none is named so."""
    names = _argument_names(activation)
    return next((index for index in wide if "gate" in names[index].lower()), wide[0])


def _argument_names(event: Event) -> list[str]:
    if event.module is None:
        return list(event.source.arguments)
    parameters = inspect.signature(type(event.module).__call__).parameters
    return list(parameters)[1:]
