"""From the trace of a block to the roles of its modules and operations."""

import mlx.core as mx

from engine.components import ComponentType as C
from engine.structure.experts import Weighting, expert_calls, expert_count, weighting
from engine.structure.neurons import map_neurons
from engine.structure.stream import Contribution, ResidualStream, is_mlp, is_norm
from engine.structure.trace import Event, Trace
from engine.taps.attention import CacheUpdate, Kernel
from engine.taps.instrument import ROTATIONS
from engine.taps.parts import QueryOfLatent, RotatedKeys, RotatedQuery, UnrotatedQuery
from engine.taps.points import Point
from engine.taps.roles import RoleOf, Through, add_point
from engine.taps.unfused import PatternSoftmax, ScoresProduct, ValuesProduct

KERNEL = "scaled_dot_product_attention"
PRE_ROPE = {"q": C.QUERY_PRE_ROPE, "k": C.KEY_PRE_ROPE}


class LayerMap:
    """Maps one call of a block, whose argument `entry` is the residual stream.

    `role_of` returns the role of a module, to be added to.
    """

    def __init__(self, layer: int, block: Event, entry: int, trace: Trace, role_of: RoleOf):
        self.layer = layer
        self.block = block
        self.entry = entry
        self.trace = trace
        self.role_of = role_of
        self.events = trace.within(block)
        self.kernels = [event for event in self.events if _is_operation(event, KERNEL)]
        self.softmaxes = [event for event in self.events if self._is_pattern(event)]
        entering = self._entering()
        attending = [*self.kernels, *self.softmaxes]
        self.stream = ResidualStream(block, entering, self.events, attending)

    def apply(self) -> None:
        """Give every module and operation of the block its hook points."""
        role = self.role_of(self.block.module)
        role.argument = self.entry
        add_point(role.inputs, self._point(C.RESIDUAL, True))
        add_point(role.outputs, self._point(C.RESIDUAL))
        self._map_contributions()
        self._map_layernorm()
        for kernel in self.kernels:
            self._map_kernel(kernel)
        for softmax in self.softmaxes:
            self._map_softmax(softmax)
        self._map_experts()
        map_neurons(self.layer, self.events, self.role_of)

    def _entering(self) -> mx.array:
        """The stream as the block receives it; of several streams, the one that it reads first."""
        entering = self.block.argument(self.entry)
        if entering.ndim == 3:
            return entering
        own = [id(module) for module in self.block.module.children().values()]
        norms = (e for e in self.events if is_norm(e) and id(e.module) in own and e.inputs)
        return next((norm.inputs[0] for norm in norms), entering)

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
        makers = [maker for maker in contribution.makers if not is_norm(maker)]
        if component is C.MLP:
            makers = [maker for maker in makers if is_mlp(maker)]
        elif contribution.attends:
            makers = [call for maker in makers for call in self._attending_calls(maker)]
        if makers:
            add_point(self.role_of(makers[0].module).inputs, self._point(component, True))

    def _attending_calls(self, maker: Event) -> list[Event]:
        """The innermost calls that attend, inside a call that made a contribution."""
        frames = {e.frame for e in (*self.kernels, *self.softmaxes) if e.is_within(maker)}
        return [event for event in self.events if event.opens in frames]

    def _map_uncontributed(self, mixing: list[Contribution], mlps: list[Contribution]) -> None:
        """Where no addition says what a part adds, what the part returns is taken for it."""
        calls = [e for e in self.events if e.module is not None and e.owner is self.block.module]
        if not mixing:
            mixers = [e for e in calls if e.module.children() and not (is_mlp(e) or is_norm(e))]
            attending = [e for e in mixers if any(k.is_within(e) for k in self.kernels)]
            for call in attending or mixers[:1]:
                self._map_whole(C.ATTENTION, call)
        if not mlps:
            for call in calls:
                if is_mlp(call):
                    self._map_whole(C.MLP, call)

    def _map_whole(self, component: C, call: Event) -> None:
        if call.outputs and call.outputs[0].shape == self.stream.entering.shape:
            role = self.role_of(call.module)
            add_point(role.inputs, self._point(component, True))
            add_point(role.outputs, self._point(component))

    def _map_layernorm(self) -> None:
        stream = self.stream.entering
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
        role = operations[kernel.site] = Kernel(self.layer, kernel.owner, kernel.args[0].shape[-1])
        keys, values = kernel.args[1:3]
        for event in self._beside(kernel):
            is_update = _is_operation(event, "update_and_fetch") and event.answers(keys)
            if is_update and keys is not values:
                operations[event.site] = CacheUpdate(self.layer)
            if _is_operation(event, "embed_q") and event.answers(kernel.args[0]):
                role.in_parts = self._map_parts(kernel, event)
                if not role.in_parts:
                    self._through(event).operands[0] = self._point(C.QUERY)
        self._map_sharing(kernel)
        self._map_rotations(kernel)

    def _map_parts(self, kernel: Event, projection: Event) -> bool:
        """Whether query and key have rotated parts that are kept apart for this kernel alone, so
        that the `projection` of the query is given a narrower one than the layer's other kernels.

        The scores of these parts are a product, which the kernel is given as its mask.
        """
        unrotated, mask = projection.args[0], kernel.kwargs.get("mask")
        operations = self.role_of(kernel.owner).operations
        widths = {each.width for each in operations.values() if isinstance(each, Kernel)}
        beside = self._beside(kernel)
        maker = next((e for e in beside if e.answers(unrotated)), None)
        product = next((e for e in beside if mask is not None and e.answers(mask)), None)
        scaled = product and next((e for e in beside if e.answers(product.args[0])), None)
        if maker is None or scaled is None:
            return False
        operand = next(i for i, a in enumerate(scaled.args) if getattr(a, "ndim", 0) == 4)
        rotated = scaled.args[operand]
        if unrotated.shape[-1] + rotated.shape[-1] not in widths:
            return False
        operations[maker.site] = UnrotatedQuery(self.layer)
        operations[scaled.site] = RotatedQuery(self.layer, operand)
        operations[product.site] = RotatedKeys(self.layer)
        operations[projection.site] = QueryOfLatent(self.layer)
        return True

    def _map_sharing(self, kernel: Event) -> None:
        """Have a layer's cache known where a later layer attends to what it returned."""
        for event in self.trace.events:
            if _is_operation(event, "update_and_fetch") and event.answers(kernel.args[1]):
                update = self.role_of(event.owner).operations.get(event.site)
                if isinstance(update, CacheUpdate) and update.layer != self.layer:
                    update.readers.add(self.layer)

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
        self._map_rotations(softmax)
        for event in beside:
            if self._point(C.QUERY_PRE_ROPE) in getattr(operations.get(event.site), "points", ()):
                self._through(event).result = self._point(C.QUERY)

    def _map_rotations(self, attention: Event) -> None:
        """Make what is rotated for this attention a hook point, by what the author called it.

        What another part of the module rotates, such as an indexer, is rotated before.
        """
        missing = dict(PRE_ROPE)
        for event in reversed([e for e in self._beside(attention) if e.end < attention.start]):
            if not any(word in event.source.operation for word in ROTATIONS):
                continue
            for index, name in enumerate(event.source.arguments[: len(event.args)]):
                value = event.args[index]
                if name[:1] in missing and getattr(value, "ndim", 0) == 4:
                    self._through(event).operands[index] = self._point(missing.pop(name[:1]))

    def _beside(self, event: Event) -> list[Event]:
        """The other operations in the same call of the same module's code."""
        return [
            each
            for each in self.events
            if each.site is not None and each is not event and each.frame == event.frame
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
