"""The debug sessions that are open, within a budget of bytes, each for a limited time."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, RLock, Timer

from engine.analysis.debugger import ForwardDebugger
from engine.errors import CaptureTooLargeError
from engine.server.errors import (
    LimitError,
    SessionActiveError,
    SessionEndedError,
    UnknownSessionError,
)
from engine.server.identifiers import new_id
from engine.server.state.models import LoadedModel

MOST = 64
"""How many may be open at once."""
REMEMBERED = 1000
"""How many sessions that are over are remembered with the reason."""


@dataclass(eq=False)
class DebugSession:
    """One pass in steps, which one request at a time works with."""

    model: LoadedModel
    debugger: ForwardDebugger
    session_id: str = field(default_factory=lambda: f"dbg-{new_id()}")
    in_use: Lock = field(default_factory=Lock)
    timer: Timer | None = None


Allow = Callable[[int], None]
"""Is called with the bytes that a session is about to keep; raises if they are too many."""


class DebugSessions:
    """Debug sessions by id, each of which ends once nothing was asked of it for `patience`
    seconds. They keep at most `budget_bytes` together."""

    def __init__(self, budget_bytes: int, patience: float):
        self.budget_bytes = budget_bytes
        self.patience = patience
        self._open: dict[str, DebugSession] = {}
        self._past: OrderedDict[str, str] = OrderedDict()
        self._lock = RLock()

    @property
    def nbytes(self) -> int:
        """The bytes that are kept for all of them."""
        return sum(each.debugger.nbytes for each in list(self._open.values()))

    def begin(self, model: LoadedModel, make: Callable[[Allow], ForwardDebugger]) -> DebugSession:
        """A new session with the pass that `make` makes. Raises LimitError if too many are open,
        and CaptureTooLargeError where they would keep too much."""
        with self._lock:
            if len(self._open) >= MOST:
                raise LimitError(f"{MOST} debug sessions are open, as many as may be: end one.")
        made: list[DebugSession] = []

        def allow(nbytes: int) -> None:
            others = [each for each in list(self._open.values()) if each not in made]
            kept = sum(each.debugger.nbytes for each in others)
            if kept + nbytes > self.budget_bytes:
                open_now = ", ".join(each.session_id for each in others) or "none"
                raise CaptureTooLargeError(
                    f"the pass would keep {nbytes} bytes, the other debug sessions keep {kept} "
                    f"({open_now}), and the budget is {self.budget_bytes}"
                )

        session = DebugSession(model, make(allow))
        made.append(session)
        with self._lock:
            self._open[session.session_id] = session
            self._wait_for(session)
        return session

    @contextmanager
    def using(self, session_id: str) -> Iterator[DebugSession]:
        """A session to work with; it waits anew from the end of the block on.

        Raises UnknownSessionError, SessionEndedError with the reason, SessionActiveError while
        another request works with it.
        """
        session = self._get(session_id)
        if not session.in_use.acquire(blocking=False):
            raise SessionActiveError(f"{session_id} is at work for another request.")
        try:
            yield session
        finally:
            session.in_use.release()
            with self._lock:
                if session_id in self._open:
                    self._wait_for(session)

    def end(self, session_id: str, reason: str) -> None:
        """End a session and free what it keeps. Raises as `using` does, but not while it is used:
        the request that works with it then is the last."""
        with self._lock:
            session = self._get(session_id)
            if session.timer is not None:
                session.timer.cancel()
            del self._open[session_id]
            self._past[session_id] = reason
            if len(self._past) > REMEMBERED:
                self._past.popitem(last=False)

    def end_all_of(self, model: LoadedModel) -> None:
        """End the sessions of a model that is unloaded."""
        with self._lock:
            for session in [each for each in self._open.values() if each.model is model]:
                self.end(session.session_id, f"the model {model.id} was unloaded")

    def _get(self, session_id: str) -> DebugSession:
        with self._lock:
            if session_id in self._open:
                return self._open[session_id]
            if session_id in self._past:
                raise SessionEndedError(session_id, self._past[session_id])
        raise UnknownSessionError(
            f"There is no debug session {session_id!r}: this server never began it.", "session_id"
        )

    def _wait_for(self, session: DebugSession) -> None:
        """Give a session its time anew."""
        if session.timer is not None:
            session.timer.cancel()
        session.timer = Timer(self.patience, self._give_up, [session])
        session.timer.daemon = True
        session.timer.start()

    def _give_up(self, session: DebugSession) -> None:
        with self._lock:
            is_open = self._open.get(session.session_id) is session
            if is_open and not session.in_use.locked():
                reason = f"nothing was asked of it for {self.patience:g} seconds"
                self.end(session.session_id, reason)
