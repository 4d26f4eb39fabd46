"""The one thread that owns MLX: it takes jobs in turn and never lets one harm another."""

import logging
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from threading import Condition, Thread
from time import monotonic
from typing import TypeVar

from engine.server.errors import QueueFullError, ShuttingDownError, UnavailableError
from engine.server.jobs.job import AbandonedError, Job

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class GenerationThread:
    """A bounded queue of jobs and the thread that works it off.

    `on_death` is called if the thread ends without having been asked to.
    """

    def __init__(
        self,
        *,
        queue_size: int,
        stuck_after: float,
        patience: float,
        on_death: Callable[[], None],
    ) -> None:
        self._queue_size = queue_size
        self._stuck_after = stuck_after
        self._patience = patience
        self._on_death = on_death
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._stopping = False
        self._changed = Condition()
        self._thread = Thread(target=self._live, name="generation", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether the thread lives and its job has given a sign of life of late."""
        running = self._running
        stuck = running is not None and monotonic() - running.last_sign > self._stuck_after
        return self._thread.is_alive() and not self._stopping and not stuck

    @property
    def queue_depth(self) -> int:
        return len(self._waiting)

    def submit(
        self, work: Callable[[Job[Result]], Generator[Result, None, None]], gone: Callable[[], bool]
    ) -> Job[Result]:
        """Queue `work`; raises QueueFullError or ShuttingDownError at once rather than wait."""
        job = Job(work, gone, self._patience)
        with self._changed:
            if self._stopping or not self._thread.is_alive():
                raise ShuttingDownError("The server is shutting down.")
            if len(self._waiting) >= self._queue_size:
                self._end_abandoned()
            if len(self._waiting) >= self._queue_size:
                raise QueueFullError(f"{self._queue_size} requests wait already; try again later.")
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def call(
        self,
        function: Callable[[Job[Result]], Result],
        gone: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Run `function` on the generation thread and return what it returns."""

        def work(job: Job[Result]) -> Generator[Result, None, None]:
            yield function(job)

        with closing(self.submit(work, gone)) as job:
            for result in job:
                return result
        raise UnavailableError("The request was cancelled: its client is gone.")

    def stop(self, grace: float) -> bool:
        """Fail all jobs and end the thread; returns whether it ended within `grace` seconds."""
        with self._changed:
            self._stopping = True
            self._fail_all(ShuttingDownError("The server is shutting down."))
            self._changed.notify_all()
        self._thread.join(grace)
        return not self._thread.is_alive()

    def _end_abandoned(self) -> None:
        """Take the jobs of clients that are gone out of the queue; whoever reads them is told."""
        for job in [job for job in self._waiting if job.abandoned]:
            self._waiting.remove(job)
            job.finish()

    def _fail_all(self, error: Exception) -> None:
        running = self._running
        for job in (*self._waiting, *((running,) if running else ())):
            job.finish(error)
        self._waiting.clear()

    def _live(self) -> None:
        try:
            while job := self._next():
                self._work_off(job)
        except BaseException:
            log.critical("the generation thread died", exc_info=True)
        finally:
            self._end()

    def _end(self) -> None:
        with self._changed:
            died, self._stopping = not self._stopping, True
            self._fail_all(RuntimeError("The generation thread died."))
        if died:
            self._on_death()

    def _next(self) -> Job | None:
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if self._stopping:
                return None
            self._running = self._waiting.popleft()
            return self._running

    def _work_off(self, job: Job) -> None:
        try:
            job.checkpoint()
            with closing(job.work(job)) as results:
                for result in results:
                    job.put(result)
        except AbandonedError:
            job.finish()
        except Exception as error:
            job.finish(error)
        else:
            job.finish()
