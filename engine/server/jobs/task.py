"""The work of one job, which runs in turns with that of others on one thread."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

import mlx.core as mx
from greenlet import getcurrent, greenlet

from engine.errors import AbandonedError
from engine.runs.results import Generated
from engine.runs.run import Run
from engine.server.jobs.agreement import ALONE, Agreement
from engine.server.jobs.job import Job
from engine.server.jobs.rows import SharedRuns
from engine.taps.class_swap import unobserved
from engine.turns import taking_turns

SHORTEST_TURN = 0.005
"""Seconds below which a turn is not worth to be ended."""


class Task:
    """A job under way: its work has a stack of its own, and goes on where it paused.

    `spent` are the seconds that it has had so far, `last_turn` is when it had its last ones, and
    `took` how many those were.
    """

    def __init__(self, job: Job, shared: SharedRuns, agreement: Agreement = ALONE) -> None:
        self.job = job
        self._agreement = agreement
        self.spent = self.took = 0.0
        self.last_turn = self._began = monotonic()
        self._shared = shared
        self._until: Callable[[], bool] | None = None
        self._rest = getcurrent()
        self._stack = greenlet(self._work, self._rest)
        job.stack = self

    # the generation thread's side

    @property
    def name(self) -> str:
        """What it does: the operation that was asked for."""
        return self.job.client.operation or "server"

    @property
    def is_over(self) -> bool:
        return self._stack.dead

    @property
    def waits(self) -> bool:
        """Whether it waits for something that is not there."""
        return self._until is not None and not self._until()

    @property
    def may_go_on(self) -> bool:
        """Whether what it waited for is there."""
        return self._until is not None and self._until()

    def advance(self) -> None:
        """Run until it pauses, or to its end."""
        self._until = None
        self._began = monotonic()
        stream = mx.default_stream(mx.default_device())
        try:
            self._stack.switch()
        finally:
            mx.set_default_stream(stream)
            self.last_turn = monotonic()
            self.took = self.last_turn - self._began
            self.spent += self.took

    def end(self) -> None:
        """Unwind the work wherever it is."""
        while self._stack:
            self._stack.throw(AbandonedError)

    def _work(self) -> None:
        job = self.job
        try:
            if job.agree("abandoned", job.abandoned):
                raise AbandonedError
            with taking_turns(job), closing(job.work(job)) as results:
                for result in results:
                    job.put(result)
        except AbandonedError:
            job.finish()
        except Exception as error:
            job.finish(error)
        else:
            job.finish()

    # the work's side

    def pause(self, until: Callable[[], bool] | None = None) -> None:
        """Let others run; with `until`, for as long as that is false."""
        if until is None and self.agree("short", monotonic() - self._began < SHORTEST_TURN):
            return
        self._until = until
        with _set_aside():
            self._rest.switch()

    def agree(self, what: str, value: Any) -> Any:
        """What the first of several ranks has for something, on all of them."""
        return self._agreement.agree(what, value)

    def generated(self, runs: Sequence[Run]) -> Iterator[tuple[int, Generated]]:
        """The tokens of some runs as they come, each with the place of its run."""
        place = {run: at for at, run in enumerate(runs)}
        job = self.job
        for run in runs:
            if run.is_long:
                self._read(run)
        with self._shared.added(runs, self) as inbox:
            while place:
                job.checkpoint(lambda: bool(inbox))
                run, outcome = inbox.take()
                if isinstance(outcome, Exception):
                    raise outcome
                yield place[run], outcome
                if outcome[0].finish_reason is not None:
                    del place[run]

    def _read(self, run: Run) -> None:
        """Read a long prompt here, so that those who share passes need not wait for it."""
        while not run.is_read:
            run.read_prompt()
            self.job.checkpoint()


@contextmanager
def _set_aside() -> Iterator[None]:
    """Have neither what this thread observes nor its stream be those of the others' work."""
    stream = mx.default_stream(mx.default_device())
    try:
        with unobserved():
            yield
    finally:
        mx.set_default_stream(stream)
