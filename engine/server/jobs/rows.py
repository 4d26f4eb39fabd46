"""Runs of several jobs that share their passes, and the tokens that each job has not taken yet."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from engine.runs.batch import Batch, Outcome
from engine.runs.kit import ModelKit
from engine.runs.run import Run
from engine.server.panics import panics_as_errors

MOST_ROWS = 64
"""Runs that share a pass at most."""
LAG = 2
"""Tokens of a run that may wait for its job before the run waits too."""


class Served(Protocol):
    """What runs are for: `spent` are the seconds that it has had so far."""

    spent: float


class Inbox:
    """The outcomes of the runs of one job, in their order, until the job takes them."""

    def __init__(self, owner: Served):
        self.owner = owner
        self._outcomes: deque[Outcome] = deque()

    def __bool__(self) -> bool:
        return bool(self._outcomes)

    def put(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)

    def take(self) -> Outcome:
        return self._outcomes.popleft()

    def lags_with(self, run: Run) -> bool:
        """Whether too many tokens of a run have not been taken."""
        return sum(each is run for each, _ in self._outcomes) >= LAG


class Rows:
    """Runs of one model that share their passes, as one thing that has turns.

    `last_turn` is when it had its last one, `took` how many seconds that lasted, and `size` how
    many runs it was for.
    """

    name = "shared passes"

    def __init__(self, kit: ModelKit):
        self.kit = kit
        self.last_turn = monotonic()
        self.took = 0.0
        self.size = 0
        self._batch = Batch(kit)
        self._waiting: deque[Run] = deque()
        self._inboxes: dict[Run, Inbox] = {}

    @property
    def runs(self) -> Sequence[Run]:
        """Those that are not over, whether they are in the batch or wait to be."""
        return [*self._batch.runs, *self._waiting]

    @property
    def is_ready(self) -> bool:
        """Whether a run may go on."""
        return any(not self._inboxes[run].lags_with(run) for run in self._batch.runs)

    @property
    def spent(self) -> float:
        """The seconds that the job which has had the least of them has had."""
        return min(self._inboxes[run].owner.spent for run in self._batch.runs)

    def takes(self, run: Run) -> bool:
        """Whether a run can share the passes of those that are here."""
        return self.kit is run.kit and all(each.can_share for each in (run, *self.runs))

    def add(self, run: Run, inbox: Inbox) -> None:
        self._inboxes[run] = inbox
        self._waiting.append(run)
        self._admit()

    def remove(self, run: Run) -> None:
        del self._inboxes[run]
        if run in self._waiting:
            self._waiting.remove(run)
        self._batch.remove([run])
        self._admit()

    def advance(self) -> None:
        """One pass for all of them."""
        began = monotonic()
        owners = {self._inboxes[run].owner for run in self._batch.runs}
        self.size = len(self._batch.runs)
        held = [run for run in self._batch.runs if self._inboxes[run].lags_with(run)]
        for run, outcome in self._outcomes(held):
            self._inboxes[run].put((run, outcome))
        self._admit()
        self.last_turn = monotonic()
        self.took = self.last_turn - began
        for owner in owners:
            owner.spent += self.took

    def _outcomes(self, held: Sequence[Run]) -> Sequence[Outcome]:
        """Those of the next pass; what fails of all runs at once ends all of them."""
        runs = self._batch.runs
        try:
            with panics_as_errors():
                return self._batch.advance(held)
        except Exception as error:
            self._batch.close()
            self._batch = Batch(self.kit)
            return [(run, error) for run in runs]

    def _admit(self) -> None:
        while self._waiting and len(self._batch.runs) < MOST_ROWS:
            self._batch.add(self._waiting.popleft())


class SharedRuns:
    """The runs of all jobs, with those that can share passes together."""

    def __init__(self) -> None:
        self.rows: list[Rows] = []

    @contextmanager
    def added(self, runs: Sequence[Run], owner: Served) -> Iterator[Inbox]:
        """Have runs be run until the block is left; what becomes of them is in the inbox."""
        inbox = Inbox(owner)
        places: list[tuple[Rows, Run]] = []
        try:
            for run in runs:
                rows = self._for(run)
                rows.add(run, inbox)
                places.append((rows, run))
            yield inbox
        finally:
            for rows, run in places:
                rows.remove(run)
            self.rows = [rows for rows in self.rows if rows.runs]

    def _for(self, run: Run) -> Rows:
        for rows in self.rows:
            if rows.takes(run):
                return rows
        self.rows.append(Rows(run.kit))
        return self.rows[-1]
