"""The one thread that owns MLX: jobs have turns on it, and none harms another."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator
from contextlib import closing
from threading import Condition, Thread
from time import monotonic
from typing import TypeVar

from engine.server.errors import QueueFullError, ShuttingDownError, UnavailableError
from engine.server.jobs.agreement import ALONE, Agreement, Key
from engine.server.jobs.fairness import Fairness
from engine.server.jobs.job import Client, Job
from engine.server.jobs.rows import Rows, SharedRuns
from engine.server.jobs.task import Task

Result = TypeVar("Result")
STARTED = 128
"""Jobs that are under way at most."""
SERVER = Client()
"""Whoever started the server, whose own work has no request."""
HEARTBEAT = 0.1
"""Seconds after which it looks whether clients are gone, while all jobs wait for something."""
log = logging.getLogger(__name__)


class GenerationThread:
    """A bounded queue of jobs and the thread that works it off.

    `on_death` is called if the thread ends without having been asked to, and `on_turn` after each
    turn with what had it. By an `agreement` several ranks begin the same jobs and have them take
    the same turns.
    """

    def __init__(
        self,
        *,
        queue_size: int,
        stuck_after: float,
        patience: float,
        on_death: Callable[[], None],
        on_turn: Callable[[Task | Rows], None] = lambda turn: None,
        agreement: Agreement = ALONE,
    ) -> None:
        self._queue_size = queue_size
        self._stuck_after = stuck_after
        self._patience = patience
        self._on_death = on_death
        self._on_turn = on_turn
        self._agreement = agreement
        self._keys: Counter[int] = Counter()
        self._waiting: deque[Job] = deque()
        self._tasks: list[Task] = []
        self._shared = SharedRuns()
        self._fairness = Fairness()
        self._turn_began: float | None = None
        self._woken = False
        self._stopping = False
        self._changed = Condition()
        self._thread = Thread(target=self._live, name="generation", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether the thread lives, and the turn that it runs, if any, has not lasted too long."""
        began = self._turn_began
        stuck = began is not None and monotonic() - began > self._stuck_after
        return self._thread.is_alive() and not self._stopping and not stuck

    @property
    def queue_depth(self) -> int:
        """Jobs that have not begun."""
        return len(self._waiting)

    @property
    def jobs_under_way(self) -> int:
        """Jobs that have begun and are not over."""
        return len(self._tasks)

    @property
    def batch_rows(self) -> int:
        """Generations that shared the latest pass, where passes are under way."""
        return max((rows.size for rows in self._shared.rows), default=0)

    def jobs(self) -> list[tuple[Job, bool]]:
        """All jobs, the oldest first, each with whether it has begun."""
        with self._changed:
            begun = [(task.job, True) for task in self._tasks]
            return begun + [(job, False) for job in self._waiting]

    def submit(
        self, work: Callable[[Job[Result]], Generator[Result, None, None]], client: Client
    ) -> Job[Result]:
        """Queue `work`; raises QueueFullError or ShuttingDownError at once rather than wait."""
        with self._changed:
            key = client.number, self._keys[client.number]
            self._keys[client.number] += 1
            job = Job(work, client, self._patience, self._wake, key)
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
        client: Client = SERVER,
    ) -> Result:
        """Run `function` on the generation thread and return what it returns."""

        def work(job: Job[Result]) -> Generator[Result, None, None]:
            yield function(job)

        with closing(self.submit(work, client)) as job:
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

    def fail(self, error: Exception) -> None:
        """Fail all jobs with an error, and take no more: this thread may never come back."""
        with self._changed:
            self._stopping = True
            self._fail_all(error)
            self._changed.notify_all()

    def _end_abandoned(self) -> None:
        """Take the jobs of clients that are gone out of the queue; whoever reads them is told."""
        for job in [job for job in self._waiting if job.abandoned]:
            self._waiting.remove(job)
            job.finish()

    def _fail_all(self, error: Exception) -> None:
        for job in (*self._waiting, *(task.job for task in self._tasks)):
            job.finish(error)
        self._waiting.clear()

    def _wake(self) -> None:
        """What a job waits for may be there."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _live(self) -> None:
        try:
            while self._begin_jobs():
                self._run()
        except BaseException:
            log.critical("the generation thread died", exc_info=True)
        finally:
            self._end()

    def _end(self) -> None:
        with self._changed:
            died, self._stopping = not self._stopping, True
            self._fail_all(RuntimeError("The generation thread died."))
        for task in self._tasks:
            task.end()
        if died:
            self._on_death()

    def _begin_jobs(self) -> bool:
        """Begin jobs that wait, and wait while there is nothing to do; returns False at the end."""
        with self._changed:
            if self._agreement.leads and not self._next_turn():
                self._changed.wait_for(
                    lambda: self._waiting or self._woken or self._stopping,
                    HEARTBEAT if self._tasks else None,
                )
            self._woken = False
            room = min(STARTED - len(self._tasks), len(self._waiting))
            begun = [self._waiting.popleft() for _ in range(room if self._agreement.leads else 0)]
        keys = self._agreement.agree("begin", [job.key for job in begun])
        if not self._agreement.leads:
            begun = [self._taken((number, place)) for number, place in keys]
        self._tasks += [Task(job, self._shared, self._agreement) for job in begun]
        return not self._agreement.agree("stopping", self._stopping)

    def _taken(self, key: Key) -> Job:
        """A job that waits, or will: on another rank its request may still be on its way."""

        def found() -> Job | None:
            return next((job for job in self._waiting if job.key == key), None)

        with self._changed:
            job = self._changed.wait_for(found)
            assert job is not None
            self._waiting.remove(job)
        return job

    def forget(self, number: int) -> None:
        """A request is over: end those of its jobs that wait, which the first rank never began."""
        with self._changed:
            self._keys.pop(number, None)
            for job in [job for job in self._waiting if job.key[0] == number]:
                self._waiting.remove(job)
                job.finish()

    def _run(self) -> None:
        """Have those go on whose wait is over, and run one turn."""
        going = [place for place, task in enumerate(self._tasks) if task.may_go_on]
        for task in [self._tasks[place] for place in self._agreement.agree("going", going)]:
            self._advance(task)
        if turn := self._agreed_turn():
            self._advance(turn)

    def _agreed_turn(self) -> Task | Rows | None:
        """Whose turn it is on all ranks."""
        turn = self._next_turn() if self._agreement.leads else None
        both: list[Task | Rows] = [*self._tasks, *self._shared.rows]
        place = None if turn is None else both.index(turn)
        place = self._agreement.agree("turn", place)
        return None if place is None else both[place]

    def _next_turn(self) -> Task | Rows | None:
        ready: list[Task | Rows] = [
            *(task for task in self._tasks if not task.waits),
            *(rows for rows in self._shared.rows if rows.is_ready),
        ]
        return self._fairness.next(ready)

    def _advance(self, turn: Task | Rows) -> None:
        self._turn_began = monotonic()
        turn.advance()
        self._turn_began = None
        self._on_turn(turn)
        self._tasks = [task for task in self._tasks if not task.is_over]
