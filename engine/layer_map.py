"""From the trace of a block to the roles of its modules and operations."""

from collections.abc import Callable

import mlx.nn as nn

from engine.attention import CacheUpdate, Kernel
from engine.components import ComponentType as C
from engine.experts import Weighting, expert_calls, expert_count, weighting
from engine.points import Point
from engine.roles import ModuleRole, Through
from engine.stream import Contribution, ResidualStream, is_mlp, is_norm
from engine.trace import Event, Trace
from engine.unfused import PatternSoftmax, ScoresProduct, ValuesProduct

KERNEL = "scaled_dot_product_attention"
PRE_ROPE = {"q": C.QUERY_PRE_ROPE, "k": C.KEY_PRE_ROPE}

RoleOf = Callable[[nn.Module], ModuleRole]


class LayerMap:
    """Maps one call of a block: `role_of` answers the role of a module, to be added to."""

    def __init__(self, layer: int, block: Event, trace: Trace, role_of: RoleOf):
        self.layer = layer
        self.block = block
        self.role_of = role_of
        self.events = trace.within(block)
        self.kernels = [event for event in self.events if _is_operation(event, KERNEL)]
        self.softmaxes = [event for event in self.events if self._is_pattern(event)]
        self.stream = ResidualStream(block, trace, [*self.kernels, *self.softmaxes])

    def apply(self) -> None:
        """Give every module and operation of the block its hook points."""
        role = self.role_of(self.block.module)
        add_point(role.inputs, self._point(C.RESIDUAL, True))
        add_point(role.outputs, self._point(C.RESIDUAL))
        self._map_contributions()
        self._map_layernorm()
        for kernel in self.kernels:
            self._map_kernel(kernel)
        for softmax in self.softmaxes:
            self._map_softmax(softmax)
        self._map_experts()

    def _point(self, component: C, is_input: bool = False) -> Point:
        return Point(self.layer, component, is_input)

    def _through(self, event: Event) -> Through:
        return self.role_of(event.owner).operations.setdefault(event.site, Through())

    # --- the residual stream -------------------------------------------------------------

    def _map_contributions(self) -> None:
        mixing = [each for each in self.stream.contributions if not each.is_mlp]
        mixing = [each for each in mixing if each.attends] or mixing
        mlps = [each for each in self.stream.contributions if each.is_mlp]
        for component, contributions in ((C.ATTENTION, mixing), (C.MLP, mlps)):
            for each in contributions:
                self._through(each.addition).operands[each.operand] = self._point(component)
                self._map_input(component, each)
        self._map_uncontributed(mixing, mlps)
        before_mlp = min((each.addition.start for each in mlps), default=0)
        for addition in self.stream.between():
            if any(addition is each.addition for each in mixing) and addition.end < before_mlp:
                self._through(addition).result = self._point(C.RESIDUAL_MID)

    def _map_input(self, component: C, contribution: Contribution) -> None:
        for maker in contribution.makers:
            module = self._attention_call(maker) if component is C.ATTENTION else maker
            if (
                module is not None
                and not is_norm(module)
                and (component is C.ATTENTION or is_mlp(module))
            ):
                add_point(self.role_of(module.module).inputs, self._point(component, True))
                return

    def _attention_call(self, maker: Event) -> Event | None:
        """The innermost call that attends, inside the call that made a contribution."""
        for inner in (*self.kernels, *self.softmaxes):
            if inner.is_within(maker):
                calls = (e for e in self.events if e.module is inner.owner and inner.is_within(e))
                return next(calls)
        return maker

    def _map_uncontributed(self, mixing: list[Contribution], mlps: list[Contribution]) -> None:
        """Where no addition says what a part adds, what the part answers stands for it."""
        calls = [e for e in self.events if e.module is not None and e.owner is self.block.module]
        if not mixing:
            for call in calls:
                if any(kernel.is_within(call) for kernel in self.kernels):
                    self._map_whole(C.ATTENTION, call)
        if not mlps:
            for call in calls:
                if is_mlp(call):
                    self._map_whole(C.MLP, call)

    def _map_whole(self, component: C, call: Event) -> None:
        if call.outputs and call.outputs[0].ndim == 3:
            role = self.role_of(call.module)
            add_point(role.inputs, self._point(component, True))
            add_point(role.outputs, self._point(component))

    def _map_layernorm(self) -> None:
        stream = self.block.inputs[0]
        for event in self.events:
            if (
                event.inputs
                and event.inputs[0] is stream
                and is_norm(event)
                and (event.outputs and event.outputs[0].shape == stream.shape)
            ):
                if event.module is None:
                    self._through(event).operands[0] = self._point(C.LAYERNORM, True)
                    self._through(event).result = self._point(C.LAYERNORM)
                else:
                    role = self.role_of(event.module)
                    add_point(role.inputs, self._point(C.LAYERNORM, True))
                    add_point(role.outputs, self._point(C.LAYERNORM))
                return

    # --- attention -----------------------------------------------------------------------

    def _map_kernel(self, kernel: Event) -> None:
        operations = self.role_of(kernel.owner).operations
        operations[kernel.site] = Kernel(self.layer, kernel.owner)
        for event in self._beside(kernel):
            if _is_operation(event, "update_and_fetch") and event.answers(kernel.args[1]):
                operations[event.site] = CacheUpdate(self.layer)
            self._map_rotation(event)

    def _map_softmax(self, softmax: Event) -> None:
        operations = self.role_of(softmax.owner).operations
        operations[softmax.site] = PatternSoftmax(self.layer)
        beside = self._beside(softmax)
        products = [event for event in beside if _is_operation(event, "matmul")]
        before = [product for product in products if product.end < softmax.start]
        after = [product for product in products if product.start > softmax.end]
        operations[before[-1].site] = ScoresProduct(self.layer)
        operations[after[0].site] = ValuesProduct(self.layer)
        for event in beside:
            if _is_operation(event, "update_and_fetch"):
                operations[event.site] = CacheUpdate(self.layer)
            if self._map_rotation(event) is C.QUERY_PRE_ROPE:
                self._through(event).result = self._point(C.QUERY)

    def _map_rotation(self, event: Event) -> C | None:
        """Make what is rotated a hook point; answers which, by what the author called it."""
        if not any(word in event.source.operation for word in ("rope", "rotary")):
            return None
        rotated = None
        for index, name in enumerate(event.source.arguments[: len(event.args)]):
            value = event.args[index]
            if name[:1] in PRE_ROPE and getattr(value, "ndim", 0) == 4:
                rotated = PRE_ROPE[name[:1]]
                self._through(event).operands[index] = self._point(rotated)
        return rotated

    def _beside(self, event: Event) -> list[Event]:
        """The other operations in the same call of the same module's code."""
        return [
            each
            for each in self.events
            if each.site is not None and each is not event and each.owners == event.owners
        ]

    def _is_pattern(self, event: Event) -> bool:
        """Whether this is the softmax of attention: between two matrix products."""
        if not _is_operation(event, "softmax") or event.args[0].ndim < 4:
            return False
        products = [e for e in self._beside(event) if e.source.operation == "matmul"]
        return any(p.end < event.start for p in products) and any(
            p.start > event.end for p in products
        )

    # --- experts -------------------------------------------------------------------------

    def _map_experts(self) -> None:
        for call in expert_calls(self.events):
            role = self.role_of(call.module)
            add_point(role.outputs, self._point(C.EXPERT_OUTPUT))
            role.choice = self._point(C.ROUTER_CHOICE)
            found = weighting(call, self.events)
            if found is not None:
                event, operand = found
                experts = expert_count(call.module)
                operations = self.role_of(event.owner).operations
                operations[event.site] = Weighting(self.layer, operand, experts)


def _is_operation(event: Event, name: str) -> bool:
    return event.site is not None and event.source.operation.split(".")[-1] == name


def add_point(points: list[Point], point: Point) -> None:
    if point not in points:
        points.append(point)
