"""One request's work for the generation thread, and the bounded queue its results come back by."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from threading import Condition
from time import monotonic, time
from typing import Any, Generic, Protocol, TypeVar
from uuid import uuid4

from engine.errors import AbandonedError
from engine.runs.results import Generated
from engine.runs.run import Run
from engine.server.errors import CancelledError, SlowClientError
from engine.server.jobs.agreement import Key
from engine.server.panics import without_panics

Result = TypeVar("Result")
BOUND = 256
"""Results that may wait for their reader, so a short reply never waits for a slow one."""


@dataclass(frozen=True)
class Client:
    """Who a job is for: `gone` says whether it has gone away, and is called on any thread.

    `operation` and `request_id` are those of the request, empty for the server's own work, and
    `number` is that by which all ranks know the request.
    """

    gone: Callable[[], bool] = lambda: False
    operation: str = ""
    request_id: str = ""
    number: int = 0


@dataclass(frozen=True)
class Progress:
    """How much of a job is done, in `unit`s."""

    done: int
    total: int
    unit: str


class Stack(Protocol):
    """How the work of a job gives way to that of others, on the generation thread."""

    def pause(self, until: Callable[[], bool] | None = None) -> None:
        """Let others run; with `until`, for as long as that is false."""

    def generated(self, runs: Sequence[Run]) -> Iterator[tuple[int, Generated]]:
        """The tokens of some runs as they come, each with the place of its run."""

    def agree(self, what: str, value: Any) -> Any:
        """What the first of several ranks has for something, on all of them."""


class Job(Generic[Result]):
    """Filled by the generation thread, iterated by one web thread.

    `work` is called with the job and iterated on the generation thread, which `wake` tells that
    what it waits for may be there. A reader may keep its job waiting, with a full queue, for
    `patience` seconds in all; then it loses it. `key` is its name on all ranks.
    """

    stack: Stack

    def __init__(
        self,
        work: "Callable[[Job[Result]], Generator[Result, None, None]]",
        client: Client,
        patience: float,
        wake: Callable[[], None],
        key: Key = (0, 0),
    ) -> None:
        self.work = without_panics(work)
        self.key = key
        self.wake = wake
        self.job_id = f"job-{uuid4().hex}"
        self.client = client
        self.created = time()
        self.progress: Progress | None = None
        self._patience = patience
        self._results: deque[Result] = deque()
        self._changed = Condition()
        self._finished = False
        self._error: BaseException | None = None

    # the generation thread's side

    @property
    def abandoned(self) -> bool:
        return self._finished or self.client.gone()

    def checkpoint(self, until: Callable[[], bool] | None = None) -> None:
        """Let others run, with `until` for as long as that is false; raises AbandonedError if
        nobody waits for the results any more."""
        if until is None:
            self.stack.pause()
        else:
            self.stack.pause(lambda: until() or self.abandoned)
        if self.agree("abandoned", self.abandoned):
            raise AbandonedError

    def agree(self, what: str, value: Any) -> Any:
        """What the first of several ranks has for something, on all of them."""
        return self.stack.agree(what, value)

    def report(self, done: int, total: int, unit: str) -> None:
        """Say how much is done."""
        self.progress = Progress(done, total, unit)

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Let others run until something is so; returns whether it is, within `seconds`."""
        deadline = monotonic() + seconds
        while not self.agree("over", until() or monotonic() >= deadline):
            self.checkpoint(lambda: until() or monotonic() >= deadline)
        came: bool = self.agree("came", until())
        return came

    def generated(self, runs: Sequence[Run]) -> Iterator[tuple[int, Generated]]:
        """The tokens of some runs, which share their passes with those of other jobs.

        They come as they are made, each with the place of its run. An error of one of the runs is
        raised, and ends the others.
        """
        return self.stack.generated(runs)

    def put(self, result: Result) -> None:
        started = monotonic()
        if not self.wait(self._has_room, self._patience):
            raise SlowClientError("The client takes its results too slowly.")
        self._patience -= monotonic() - started
        with self._changed:
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

    def _has_room(self) -> bool:
        return len(self._results) < BOUND

    # the web thread's side

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        with self._changed:
            self._changed.wait_for(lambda: self._results or self._finished)
            if self._results:
                if not self._has_room():
                    self.wake()
                return self._results.popleft()
        if self._error:
            raise self._error
        raise StopIteration

    def cancel(self) -> None:
        """End it for whoever asked for that; its own client is told."""
        self.finish(CancelledError(f"{self.job_id} was cancelled on request."))
        self.wake()

    def close(self) -> None:
        """Give up: the work is unwound within a token, and what was made is freed."""
        self.finish()
        with self._changed:
            self._results.clear()
        self.wake()
