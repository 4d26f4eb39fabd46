"""A run that pauses at breakpoints, and goes on with what its client makes of them."""

from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from threading import Condition, Lock
from time import monotonic
from typing import Any

import numpy as np

from engine.captures.records import CapturedActivation
from engine.errors import AbandonedError
from engine.server.errors import (
    ImpossibleError,
    SessionActiveError,
    SessionEndedError,
    UnknownSessionError,
)
from engine.server.identifiers import new_id
from engine.server.jobs.generation_thread import GenerationThread
from engine.server.jobs.job import Client, Job

Ask = Callable[[CapturedActivation], np.ndarray | None]
"""Shows the client a value; returns the changed one, or None if it stays as it is."""

Event = CapturedActivation | Any
"""What a client waits for: the value at the next breakpoint, or what the run returns at its end."""

Run = Callable[[Job[Event], Ask], Any]
"""Runs, on the generation thread, a forward pass or a generation that asks at its breakpoints."""

Describe = Callable[[Event], dict[str, Any]]
"""Makes a reply of what the client waited for."""

REMEMBERED = 1000
"""How many sessions that are over are remembered with the reason."""


class Session:
    """One run, on the generation thread, in turns with its client's web requests.

    At each breakpoint the run waits up to `patience` seconds for the client to go on, or to say
    that it is still at work; then it is cancelled, so that nobody else waits longer.
    `over` says why there is nothing to go on with.
    """

    def __init__(self, patience: float) -> None:
        self.session_id = f"ses-{new_id()}"
        self.over: str | None = None
        self._patience = patience
        self._deadline = 0.0
        self._changed = Condition()
        self._paused_at: CapturedActivation | None = None
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
        client: Client,
    ) -> dict[str, Any]:
        """Run to the first breakpoint, or to the end; returns which of them, described."""

        def work(job: Job[Event]) -> Generator[Event, None, None]:
            try:
                yield run(job, partial(self._ask, job))
            except AbandonedError:
                self._end("its client went away, or the server is shutting down")
                raise

        with self._changed:
            self._describe, self._gone = describe, client.gone
            try:
                self._job = job = worker.submit(work, replace(client, gone=self._client_gone))
            except Exception as error:
                self._end(f"it never began: {error}")
                raise
        return self._described_event(job, describe)

    def resume(self, value: np.ndarray | None, gone: Callable[[], bool]) -> dict[str, Any]:
        """Let the run go on with `value` (None: unchanged) to its next breakpoint, or to its end.

        Raises SessionEndedError, SessionActiveError while it runs, and ImpossibleError
        for a value of another shape, after which the client may try again.
        """
        with self._changed:
            job, describe = self._running()
            if self._paused_at is None:
                raise SessionActiveError(f"{self.session_id} is running to its next breakpoint.")
            if value is not None and value.shape != self._paused_at.shape:
                raise ImpossibleError(
                    f"value: it has the shape {list(value.shape)}; "
                    f"{self._paused_at.hook_id!r} paused with {list(self._paused_at.shape)}",
                    "value",
                )
            self._paused_at, self._answer, self._gone = None, (value,), gone
            self._changed.notify_all()
        job.wake()
        return self._described_event(job, describe)

    def keep(self) -> float:
        """Wait anew for the client, and return for how many seconds.

        Raises SessionEndedError if it is over, SessionActiveError while it runs.
        """
        with self._changed:
            self._running()
            if self._paused_at is None:
                raise SessionActiveError(f"{self.session_id} is running to its next breakpoint.")
            self._deadline = monotonic() + self._patience
        return self._patience

    def cancel(self) -> None:
        """Unwind the run. Raises SessionEndedError if it is over."""
        with self._changed:
            job, _ = self._running()
            self._end("it was cancelled on request")
        job.close()

    def _running(self) -> tuple[Job[Event], Describe]:
        """The job, and what describes its events. Raises SessionEndedError if it is over."""
        if self._job is None or self._describe is None:
            raise SessionEndedError(self.session_id, self.over or "it never began")
        return self._job, self._describe

    def _described_event(self, job: Job[Event], describe: Describe) -> dict[str, Any]:
        try:
            event = next(job)
        except StopIteration:
            self._end("it was cancelled")
            raise SessionEndedError(self.session_id, self.over or "") from None
        except Exception as error:
            self._end(f"it failed: {error}")
            raise
        with self._changed:
            self._gone = None
            if isinstance(event, CapturedActivation):
                self._paused_at = event
            else:
                self._end("it is done")
        return describe(event)

    # the generation thread's side

    def _ask(self, job: Job[Event], record: CapturedActivation) -> np.ndarray | None:
        with self._changed:
            self._deadline = monotonic() + self._patience
        job.put(record)
        came = False
        while not came and job.agree("patience", self._deadline > monotonic()):
            left = self._deadline - monotonic()  # which `keep` may make longer
            came = job.wait(lambda: self._answer is not None, left)
        with self._changed:
            if came:  # on another rank the request may still be on its way
                self._changed.wait_for(lambda: self._answer is not None)
            answer, self._answer = self._answer, None
            if answer is None:
                self._end(f"nothing came back within {self._patience:g} seconds of a breakpoint")
                raise AbandonedError
        return answer[0]

    def _client_gone(self) -> bool:
        """Whether the client of the request that is being served now, if any, has gone."""
        gone = self._gone
        return gone is not None and gone()

    def _end(self, reason: str) -> None:
        with self._changed:
            self.over = self.over or reason
            self._job = self._describe = None
            self._changed.notify_all()


class Sessions:
    """The session that is under way, at most one, and why earlier ones are over."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._lock = Lock()
        self._current: Session | None = None
        self._past: OrderedDict[str, str] = OrderedDict()

    def start(self) -> Session:
        """A new session; raises SessionActiveError if another is not over."""
        with self._lock:
            if self._current:
                if not self._current.over:
                    raise SessionActiveError(
                        f"The session {self._current.session_id} is under way: go on with it, "
                        "or cancel it by DELETE; a breakpoint is given up after "
                        f"{self._patience:g} seconds."
                    )
                self._remember(self._current)
            self._current = Session(self._patience)
            return self._current

    def get(self, session_id: str) -> Session:
        """The session of this id; UnknownSessionError, or SessionEndedError with the reason."""
        with self._lock:
            if self._current and self._current.session_id == session_id:
                return self._current
            if session_id in self._past:
                raise SessionEndedError(session_id, self._past[session_id])
        raise UnknownSessionError(
            f"There is no session {session_id!r}: this server never began it.", "session_id"
        )

    def _remember(self, session: Session) -> None:
        self._past[session.session_id] = session.over or ""
        if len(self._past) > REMEMBERED:
            self._past.popitem(last=False)
