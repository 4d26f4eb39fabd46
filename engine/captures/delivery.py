"""A thread that moves values to the host while the one that runs the model prepares its next pass.

Only a queue and a lock are between the two: an executor's bookkeeping is slow enough to be measured
in each token's time.
"""

from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Delivery(Generic[T]):
    """What the delivering thread computes; deliveries are made in the order of their creation."""

    def __init__(self, compute: Callable[[], T]):
        self._compute: Callable[[], T] | None = compute
        self._value: T | None = None
        self._error: BaseException | None = None
        self._underway = Lock()
        self._underway.acquire()
        _orders().put(self)

    def result(self) -> T:
        """What was computed, once it is; raises the error that was raised instead."""
        with self._underway:
            pass
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def make(self) -> None:
        """Compute it, on the delivering thread."""
        compute = self._compute
        try:
            if compute is not None:
                self._value = compute()
        except BaseException as error:  # for whoever awaits the result
            self._error = error
        finally:
            self._compute = compute = None
            self._underway.release()


@cache
def _orders() -> SimpleQueue:
    orders: SimpleQueue = SimpleQueue()
    Thread(target=_make_all, args=[orders], name="delivery", daemon=True).start()
    return orders


def _make_all(orders: SimpleQueue) -> None:
    while True:
        orders.get().make()  # in no variable, which would hold it until the next order
