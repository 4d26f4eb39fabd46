"""Whose turn it is on the generation thread: short work passes long work, and long work goes on."""

from collections.abc import Sequence
from time import monotonic
from typing import Protocol, TypeVar

SHORT = 2.0
"""Seconds up to which the job that has had less of them goes first; beyond, they alternate."""
PASSED = 4.0
"""How many times as long as its last turn lasted a job is passed by shorter ones."""


class HavingTurns(Protocol):
    """What has turns: the seconds that it has had, when its last turn ended, how long it lasted."""

    @property
    def spent(self) -> float: ...

    @property
    def last_turn(self) -> float: ...

    @property
    def took(self) -> float: ...


Turn = TypeVar("Turn", bound=HavingTurns)


class Fairness:
    """Chooses among those that are ready.

    A new job waits for the turn under way, and at most one more: among long jobs only one at a
    time goes before shorter work, and then none for `PASSED` times as long.
    """

    def __init__(self) -> None:
        self._not_before = 0.0

    def next(self, ready: Sequence[Turn]) -> Turn | None:
        """Whose turn it is; None if nobody is ready."""
        now = monotonic()
        if now >= self._not_before:
            late = [each for each in ready if now - each.last_turn > PASSED * each.took > 0]
            if late:
                chosen = min(late, key=lambda each: each.last_turn)
                self._not_before = now + (1 + PASSED) * chosen.took
                return chosen
        return min(ready, key=lambda each: (min(each.spent, SHORT), each.last_turn), default=None)
