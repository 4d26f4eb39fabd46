"""A trace of what a model's code does, from passes that are built but never evaluated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import make_prompt_cache

from engine.taps.class_swap import Scope, Taps, observing
from engine.taps.instrument import Source, sources
from engine.turns import give_way


@dataclass(eq=False)
class Event:
    """One call of a module (`name` in its parent), or one operation of a module's own code.

    `owners` are the modules whose calls it happened in, outermost first; `frame` is the number
    of the innermost of these calls, `opens` the number of a module's own call. Arrays are compared
    by identity: what one event returns and another takes is the same object.
    """

    owners: tuple[nn.Module, ...]
    args: tuple
    kwargs: dict
    module: nn.Module | None = None
    site: int | None = None
    function: Callable | None = None
    name: str = ""
    frame: int = 0
    opens: int | None = None
    outputs: list[mx.array] = field(default_factory=list)
    start: int = 0
    end: int = 0

    def __post_init__(self):
        self.inputs = _arrays((self.args, self.kwargs))

    @property
    def owner(self) -> nn.Module:
        return self.owners[-1]

    @property
    def called(self) -> nn.Module:
        """The module, of an event that is the call of one."""
        assert self.module is not None, "an operation calls no module"
        return self.module

    @property
    def operation(self) -> int:
        """The site, of an event that is an operation."""
        assert self.site is not None, "the call of a module has no site"
        return self.site

    @property
    def source(self) -> Source:
        """What the model's author wrote for this operation."""
        return sources[self.operation]

    def argument(self, index: int) -> mx.array:
        """The positional argument `index`, or the first array if all have names."""
        return self.args[index] if self.args else self.inputs[0]

    def takes(self, array: mx.array) -> bool:
        return any(array is each for each in self.inputs)

    def answers(self, array: mx.array) -> bool:
        return any(array is each for each in self.outputs)

    def is_within(self, other: "Event") -> bool:
        return other.start < self.start and self.end < other.end


class Trace:
    """The events of one pass, in the order in which they began."""

    def __init__(self, events: list[Event]):
        self.events = events

    def calls(self, module: nn.Module) -> list[Event]:
        return [event for event in self.events if event.module is module]

    @property
    def modules(self) -> list[int]:
        """Which modules were called, by their ids."""
        return [id(event.module) for event in self.events if event.module is not None]

    def within(self, whole: Event) -> list[Event]:
        return [event for event in self.events if event.is_within(whole)]

    def of_parts(self, block: nn.Module) -> list[Event]:
        """The events of the modules of a block, which may never be called itself."""
        parts = {id(module) for module in block.modules()}
        return [e for e in self.events if parts & {id(each) for each in (e.module, *e.owners)}]


PROMPT = 11
"""Tokens of the traced prompt: a number that no model has of heads."""


def traced(model: nn.Module) -> list[Trace]:
    """Traces of a prompt's pass, with a cache and without, and of the pass of one more token."""
    names = {id(module): _last_word(path) for path, module in model.named_modules()}
    cache = make_prompt_cache(model)
    passes = [(PROMPT, cache), (1, cache), (PROMPT, None)]
    return [
        _pass(model, names, mx.zeros((1, length), dtype=mx.int32), cache)
        for length, cache in passes
    ]


def _last_word(path: str) -> str:
    return next((word for word in reversed(path.split(".")) if not word.isdigit()), "")


def _pass(model: nn.Module, names: dict[int, str], tokens: mx.array, cache: list | None) -> Trace:
    give_way()
    tracer = _Tracer(names)
    scope = Scope({}, {}, {})
    scope.roles = dict.fromkeys(names, tracer)
    scope.inside = set(names)
    with Taps(model.modules()).in_place(), observing(scope):
        model(tokens, cache=cache)
    return Trace(tracer.events)


class _Tracer:
    def __init__(self, names: dict[int, str]):
        self.names = names
        self.events: list[Event] = []
        self.stack: list[nn.Module] = []
        self.frames: list[int] = [0]
        self.clock = 0

    def call(self, scope, forward, module, args, kwargs):
        event = Event(tuple(self.stack), args, kwargs, module, name=self.names[id(module)])
        event.opens = len(self.events) + 1
        self.stack.append(module)
        try:
            return self._timed(event, lambda: forward(module, *args, **kwargs))
        finally:
            self.stack.pop()

    def operation(self, scope, site, function, args, kwargs):
        event = Event(tuple(self.stack), args, kwargs, site=site, function=function)
        return self._timed(event, lambda: function(*args, **kwargs))

    def _timed(self, event: Event, run: Callable[[], Any]) -> Any:
        self.events.append(event)
        event.frame = self.frames[-1]
        self.frames.append(event.opens or event.frame)
        self.clock += 1
        event.start = self.clock
        result = run()
        self.clock += 1
        self.frames.pop()
        event.end = self.clock
        event.outputs = _arrays(result)
        return result


def _arrays(value: Any) -> list[mx.array]:
    return list(_each_array(value))


def _each_array(value: Any) -> Iterator[mx.array]:
    if isinstance(value, mx.array):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _each_array(each)
    elif isinstance(value, dict) and not isinstance(value, nn.Module):
        for each in value.values():
            yield from _each_array(each)
