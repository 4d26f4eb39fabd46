"""Points at which long work lets other work run on the same thread.

The engine by itself has nobody to give way to. A server that runs several jobs on one thread gives
each of them its `Turns`: the same work, in the same order, with pauses.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Thread
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")
Value = TypeVar("Value")
Until = Callable[[], bool]


class Turns(Protocol):
    """How work gives way to other work. Both raise AbandonedError if nobody waits for it."""

    def checkpoint(self, until: Until | None = None) -> None:
        """Let others run; with `until`, for as long as that is false."""

    def wake(self) -> None:
        """Tell, on any thread, that what is waited for may be there."""

    def agree(self, what: str, value: Any) -> Any:
        """What the first of several ranks has for something, on all of them."""


class _Alone:
    """The turns of work that nothing runs beside: it goes on at once."""

    def checkpoint(self, until: Until | None = None) -> None:
        pass

    def wake(self) -> None:
        pass

    def agree(self, what: str, value: Any) -> Any:
        return value


_ALONE = _Alone()
_turns: ContextVar[Turns] = ContextVar("turns")


@contextmanager
def taking_turns(turns: Turns) -> Iterator[None]:
    """Have the work of the block give way by these turns."""
    token = _turns.set(turns)
    try:
        yield
    finally:
        _turns.reset(token)


def give_way(until: Until | None = None) -> None:
    """Let others run here; with `until`, which only others make true, for as long as it is false.

    Raises AbandonedError if nobody waits for what is being done.
    """
    _turns.get(_ALONE).checkpoint(until)


def agreed(what: str, value: Value) -> Value:
    """What the first of several ranks has for something that each finds for itself, and could find
    otherwise: a time, memory, chance. Numbers, texts, lists of them. Alone it is one's own."""
    result: Value = _turns.get(_ALONE).agree(what, value)
    return result


def elsewhere(function: Callable[[], Result]) -> Result:
    """What a function returns, called on a thread of its own while others run on this one.

    It must not touch what this thread owns. If nobody waits for the result any more,
    AbandonedError is raised here, and the function goes on to its end for nothing.
    """
    turns, future = _turns.get(_ALONE), Future[Result]()
    future.add_done_callback(lambda done: turns.wake())

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # a panic in Rust is no Exception
            future.set_exception(error)

    Thread(target=work, name="elsewhere", daemon=True).start()
    turns.checkpoint(future.done)
    return future.result()
