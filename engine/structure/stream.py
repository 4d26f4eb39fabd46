"""The residual stream of a block, read off a trace of its code.

Whatever a block is made of, what it does to the residual stream are additions: one operand is the
stream as the block received it or an earlier addition left it, the other is what a part of the
block contributes. So the additions say what attention adds and what the mlp adds, with every
norm, gate and multiplier that the architecture puts between.
"""

from dataclasses import dataclass

import mlx.core as mx

from engine.structure.trace import Event

MLP_WORDS = ("mlp", "moe", "ffn", "feed_forward", "feedforward", "expert", "channel", "ff_")


@dataclass(frozen=True, eq=False)
class Contribution:
    """One operand of an addition to the stream, and the module calls that made it."""

    addition: Event
    operand: int
    makers: tuple[Event, ...]
    attends: bool

    @property
    def is_mlp(self) -> bool:
        return not self.attends and any(map(is_mlp, self.makers))


class ResidualStream:
    """The additions of one call of a block, in the order of the pass."""

    def __init__(self, block: Event, entering: mx.array, events: list[Event], attending):
        self.block = block
        self.events = events
        self.attending = list(attending)
        self.additions: list[Event] = []
        self.contributions: list[Contribution] = []
        self.entering = entering
        self._shape = entering.shape
        self._sums: list[Event] = []
        self._values = [entering]
        self._frames = {block.opens}
        for event in events:
            self._read(event)

    def between(self) -> list[Event]:
        """The additions whose result the rest of the block reads, not only adds to."""
        return [
            addition
            for addition in self.additions
            if any(e.takes(addition.outputs[0]) and e not in self.additions for e in self.events)
        ]

    def _read(self, event: Event) -> None:
        if event.module is not None:
            if any(map(self._in_stream, event.inputs)):
                self._frames.add(event.opens)
        elif event.frame in self._frames and not any(map(event.is_within, self.additions)):
            if self._scales(event):
                self._values.append(event.outputs[0])
            elif _adds(event, self._shape):
                self._read_addition(event)

    def _read_addition(self, event: Event) -> None:
        stream = next((i for i, a in enumerate(event.args) if self._in_stream(a)), None)
        if stream is None:
            stream = self._normed_stream(event)
        if stream is None:
            self._sums.append(event)
            return
        for index, operand in enumerate(event.args):
            if index != stream and _like(operand, event.args[stream]):
                self._contribute(event, index, operand)
        self.additions.append(event)
        self._values.append(event.outputs[0])

    def _scales(self, event: Event) -> bool:
        """Whether an operation multiplies the stream by one number, a part of it afterwards."""
        if event.source.operation != "mul" or not any(map(self._in_stream, event.args)):
            return False
        return all(self._in_stream(arg) or getattr(arg, "size", 1) == 1 for arg in event.args)

    def _in_stream(self, array) -> bool:
        return any(array is each for each in self._values)

    def _normed_stream(self, event: Event) -> int | None:
        """The operand that is the stream after a norm of its own, as in a first layer."""
        if event.frame != self.block.opens:
            return None
        for index, operand in enumerate(event.args):
            maker = self._maker(operand)
            if maker is not None and is_norm(maker) and any(map(self._in_stream, maker.inputs)):
                return index
        return None

    def _contribute(self, event: Event, index: int, operand: mx.array) -> None:
        inner = next(
            (each for each in self._sums if each.frame == event.frame and each.answers(operand)),
            None,
        )
        if inner is not None:
            for at, part in enumerate(inner.args):
                self._contribute(inner, at, part)
            return
        makers = self._chain(operand)
        if all(map(is_norm, makers)):
            makers = self._since_last_addition(event)
        attends = any(a.is_within(maker) for maker in makers for a in self.attending)
        attends = attends or self._attends_inline(event)
        self.contributions.append(Contribution(event, index, tuple(makers), attends))

    def _chain(self, array) -> list[Event]:
        """The calls through which an operand came, each taking what the one before returned."""
        chain: list[Event] = []
        maker = self._maker(array)
        while maker is not None and maker not in chain:
            chain.insert(0, maker)
            taken = maker.inputs[:1]
            maker = self._maker(taken[0]) if taken and not self._in_stream(taken[0]) else None
        return chain

    def _maker(self, array) -> Event | None:
        """The outermost call that returned an array first of all."""
        calls = (e for e in self.events if e.module is not None and e.outputs[:1])
        makers = (e for e in calls if e.outputs[0] is array)
        return min(makers, key=lambda event: len(event.owners), default=None)

    def _since_last_addition(self, event: Event) -> list[Event]:
        begin = self.additions[-1].end if self.additions else self.block.start
        return [
            e
            for e in self.events
            if e.module is not None and e.owner is event.owner and begin < e.start < event.start
        ]

    def _attends_inline(self, event: Event) -> bool:
        begin = self.additions[-1].end if self.additions else self.block.start
        return any(
            begin < a.start < event.start and a.site is not None and a.owner is self.block.module
            for a in self.attending
        )


def _adds(event: Event, shape: tuple[int, ...]) -> bool:
    """Whether an operation may be an addition: ``+``, or a function of two such values."""
    if event.source.operation in ("mul", "matmul"):
        return False
    alike = [a for a in event.args if isinstance(a, mx.array) and a.shape == shape]
    return len(alike) == 2 and event.outputs[:1] != [] and event.outputs[0].shape == shape


def _like(value, other: mx.array) -> bool:
    return isinstance(value, mx.array) and value.shape == other.shape


def is_mlp(call: Event) -> bool:
    """Whether a module is an mlp by its name, or by its class's if it is just the mixer."""
    name = type(call.module).__name__ if call.name == "mixer" else call.name
    return not is_norm(call) and any(word in name.lower() for word in MLP_WORDS)


def is_norm(event: Event) -> bool:
    """Whether a module or function normalises, by its name or its class's."""
    if event.module is None:
        return "norm" in event.source.operation
    return "norm" in type(event.module).__name__.lower()
