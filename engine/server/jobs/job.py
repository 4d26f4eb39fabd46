"""One request's work for the generation thread, and the bounded queue its results come back by."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from threading import Condition
from time import monotonic
from typing import Generic, TypeVar

from engine.server.errors import SlowClientError
from engine.server.panics import without_panics

Result = TypeVar("Result")
BOUND = 256
"""Results that may wait for their reader, so a short reply never waits for a slow one."""


class AbandonedError(Exception):
    """Raised inside the work of a client that is gone, to unwind it."""


class Job(Generic[Result]):
    """Filled by the generation thread, iterated by one web thread.

    `work` is called with the job and iterated on the generation thread. `gone` says whether the
    client has gone away. A reader may keep the generation thread waiting, with a full queue, for
    `patience` seconds in all; then it loses its job.
    """

    def __init__(
        self,
        work: "Callable[[Job[Result]], Generator[Result, None, None]]",
        gone: Callable[[], bool],
        patience: float,
    ) -> None:
        self.work = without_panics(work)
        self.last_sign = monotonic()
        self._gone = gone
        self._patience = patience
        self._results: deque[Result] = deque()
        self._changed = Condition()
        self._finished = False
        self._error: BaseException | None = None

    # the generation thread's side

    @property
    def abandoned(self) -> bool:
        return self._finished or self._gone()

    def checkpoint(self) -> None:
        """Give a sign of life; unwind if nobody waits for the results any more."""
        self.last_sign = monotonic()
        if self.abandoned:
            raise AbandonedError

    def put(self, result: Result) -> None:
        with self._changed:
            started = monotonic()
            room = self._changed.wait_for(
                lambda: self._finished or len(self._results) < BOUND, self._patience
            )
            self._patience -= monotonic() - started
            if not room:
                raise SlowClientError("The client takes its results too slowly.")
            if not self._finished:
                self._results.append(result)
                self._changed.notify_all()
        self.checkpoint()

    def finish(self, error: BaseException | None = None) -> None:
        """End the results; the first call counts."""
        with self._changed:
            if not self._finished:
                self._finished, self._error = True, error
            self._changed.notify_all()

    # the web thread's side

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        with self._changed:
            self._changed.wait_for(lambda: self._results or self._finished)
            if self._results:
                self._changed.notify_all()
                return self._results.popleft()
        if self._error:
            raise self._error
        raise StopIteration

    def close(self) -> None:
        """Give up: the work is unwound within a token, and what was made is freed."""
        self.finish()
        with self._changed:
            self._results.clear()
