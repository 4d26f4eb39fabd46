"""A run that stops at hook points, and goes on with what its client makes of them."""

from collections import OrderedDict
from collections.abc import Callable, Generator
from functools import partial
from threading import Condition, Lock
from time import monotonic
from typing import Any
from uuid import uuid4

import numpy as np

from engine.captures.records import CapturedActivation
from engine.server.errors import (
    ExchangeEndedError,
    ExchangeUnderWayError,
    ImpossibleError,
    UnknownExchangeError,
)
from engine.server.job import AbandonedError, Job
from engine.server.worker import GenerationThread

Ask = Callable[[CapturedActivation], np.ndarray | None]
"""Shows the client a value; answers the changed one, or None if it stays as it is."""

Event = CapturedActivation | Any
"""What a client waits for: the value at the next stop, or what the run answers at its end."""

Run = Callable[[Job[Event], Ask], Any]
"""Runs, on the generation thread, a forward pass or a generation that asks at its stops."""

Describe = Callable[[Event], dict[str, Any]]
"""Makes a reply of what the client waited for."""

HEARTBEAT = 0.2
"""Seconds between two signs of life of a generation thread that waits for a client."""
REMEMBERED = 1000
"""How many exchanges that are over are remembered with the reason."""


class Exchange:
    """One run, on the generation thread, in turns with its client's web requests.

    At each stop the run waits up to `patience` seconds for the client to go on; then it is
    cancelled, so that nobody else waits longer. `over` says why there is nothing to go on with.
    """

    def __init__(self, patience: float) -> None:
        self.exchange_id = f"exc-{uuid4().hex}"
        self.over: str | None = None
        self._patience = patience
        self._changed = Condition()
        self._stop: CapturedActivation | None = None
        self._answer: tuple[np.ndarray | None] | None = None
        self._job: Job[Event] | None = None
        self._describe: Describe | None = None
        self._gone: Callable[[], bool] | None = None

    # the web threads' side

    def begin(
        self,
        worker: GenerationThread,
        run: Run,
        describe: Describe,
        gone: Callable[[], bool],
    ) -> dict[str, Any]:
        """Run to the first stop, or to the end; answers which of them, described."""

        def work(job: Job[Event]) -> Generator[Event, None, None]:
            try:
                yield run(job, partial(self._ask, job))
            except AbandonedError:
                self._end("its client went away, or the server is shutting down")
                raise

        with self._changed:
            self._describe, self._gone = describe, gone
            try:
                self._job = job = worker.submit(work, self._client_gone)
            except Exception as error:
                self._end(f"it never began: {error}")
                raise
        return self._described_event(job, describe)

    def go_on(self, value: np.ndarray | None, gone: Callable[[], bool]) -> dict[str, Any]:
        """Let the run go on with `value` (None: unchanged) to its next stop, or to its end.

        Raises ExchangeEndedError, ExchangeUnderWayError while it runs, and ImpossibleError
        for a value of another shape, after which the client may try again.
        """
        with self._changed:
            job, describe = self._job, self._describe
            if self.over:
                raise ExchangeEndedError(self.exchange_id, self.over)
            if self._stop is None:
                raise ExchangeUnderWayError(f"{self.exchange_id} is running to its next stop.")
            if value is not None and value.shape != self._stop.shape:
                raise ImpossibleError(
                    f"value: it has the shape {list(value.shape)}; "
                    f"{self._stop.hook_id!r} stopped with {list(self._stop.shape)}",
                    "value",
                )
            self._stop, self._answer, self._gone = None, (value,), gone
            self._changed.notify_all()
        return self._described_event(job, describe)

    def cancel(self) -> None:
        """Unwind the run. Raises ExchangeEndedError if it is over."""
        with self._changed:
            job = self._job
            if self.over:
                raise ExchangeEndedError(self.exchange_id, self.over)
            self._end("it was cancelled on request")
        job.close()

    def _described_event(self, job: Job[Event], describe: Describe) -> dict[str, Any]:
        try:
            event = next(job)
        except StopIteration:
            self._end("it was cancelled")
            raise ExchangeEndedError(self.exchange_id, self.over) from None
        except Exception as error:
            self._end(f"it failed: {error}")
            raise
        with self._changed:
            self._gone = None
            if isinstance(event, CapturedActivation):
                self._stop = event
            else:
                self._end("it is done")
        return describe(event)

    # the generation thread's side

    def _ask(self, job: Job[Event], record: CapturedActivation) -> np.ndarray | None:
        job.put(record)
        deadline = monotonic() + self._patience
        with self._changed:
            while self._answer is None:
                job.checkpoint()
                left = deadline - monotonic()
                if left <= 0:
                    self._end(f"nothing came back within {self._patience:g} seconds of a stop")
                    raise AbandonedError
                self._changed.wait(min(left, HEARTBEAT))
            (value,), self._answer = self._answer, None
        return value

    def _client_gone(self) -> bool:
        """Whether the client of the request that is being answered now, if any, has gone."""
        gone = self._gone
        return gone is not None and gone()

    def _end(self, reason: str) -> None:
        with self._changed:
            self.over = self.over or reason
            self._job = self._describe = None
            self._changed.notify_all()


class Exchanges:
    """The exchange that is under way, at most one, and why earlier ones are over."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._lock = Lock()
        self._current: Exchange | None = None
        self._past: OrderedDict[str, str] = OrderedDict()

    def start(self) -> Exchange:
        """A new exchange; raises ExchangeUnderWayError if another is not over."""
        with self._lock:
            if self._current:
                if not self._current.over:
                    raise ExchangeUnderWayError(
                        f"The exchange {self._current.exchange_id} is under way: go on with it, "
                        f"or cancel it by DELETE; a stop is given up after {self._patience:g} "
                        "seconds."
                    )
                self._remember(self._current)
            self._current = Exchange(self._patience)
            return self._current

    def get(self, exchange_id: str) -> Exchange:
        """The exchange of this id; UnknownExchangeError, or ExchangeEndedError with the reason."""
        with self._lock:
            if self._current and self._current.exchange_id == exchange_id:
                return self._current
            if exchange_id in self._past:
                raise ExchangeEndedError(exchange_id, self._past[exchange_id])
        raise UnknownExchangeError(
            f"There is no exchange {exchange_id!r}: this server never began it.", "exchange_id"
        )

    def _remember(self, exchange: Exchange) -> None:
        self._past[exchange.exchange_id] = exchange.over or ""
        if len(self._past) > REMEMBERED:
            self._past.popitem(last=False)
