"""Every other rank: does what the first one does, and shows it to nobody."""

import base64
from collections.abc import Callable, Iterable
from io import BytesIO
from queue import SimpleQueue
from threading import Thread
from typing import Any

from engine.parallel.channel import Followed
from engine.server.identifiers import identified_by
from engine.server.jobs.agreement import Key
from engine.server.ranks.leading import NUMBER, Wsgi

PATIENCE = 5.0
"""Seconds that a request may be behind the first rank's."""


class OutOfStepError(RuntimeError):
    """This rank asks for something else than the first one decided about."""


class FollowingAgreement:
    """What the first rank decided, decision by decision."""

    leads = False

    def __init__(self) -> None:
        self.decisions: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    def agree(self, what: str, value: Any) -> Any:
        """Raises OutOfStepError where the ranks have gone different ways."""
        told, decision = self.decisions.get()
        if told != what:
            raise OutOfStepError(f"this rank is at {what!r}, the first one at {told!r}")
        return decision

    def begin(self, keys: Iterable[Key]) -> list[Key]:
        return [(number, place) for number, place in self.agree("begin", ())]


class Following:
    """Reads what the first rank says, until it ends: decisions for the generation thread, requests
    for the application, which replies to nobody."""

    def __init__(self, followed: Followed, agreement: FollowingAgreement):
        self._followed = followed
        self._agreement = agreement
        self._under_way: dict[int, Thread] = {}

    def run(self, app: Wsgi, secret: str, over: Callable[[int], None]) -> None:
        """Returns once the first rank has ended."""
        while True:
            try:
                kind, *told = self._followed.hear()
            except EOFError:
                return
            if kind == "agree":
                self._agreement.decisions.put((told[0], told[1]))
            elif kind == "over":
                self._end(*told)
                over(told[0])
            else:
                number, environ, body = told
                request = _environ(number, environ, base64.b64decode(body))
                thread = Thread(target=_repeat, args=(app, secret, request), daemon=True)
                self._under_way[number] = thread
                thread.start()

    def _end(self, number: int, whole: bool) -> None:
        """Let a request that was replied to whole come to its end here too, so that the next one
        finds what it left; of others the first rank has yet to decide."""
        thread = self._under_way.pop(number)
        if whole:
            thread.join(PATIENCE)


def _environ(number: int, told: dict[str, str], body: bytes) -> dict[str, Any]:
    return {
        **told,
        NUMBER: number,
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "0",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _repeat(app: Wsgi, secret: str, environ: dict[str, Any]) -> None:
    with identified_by(secret, environ[NUMBER]):
        pieces = app(environ, lambda *status: lambda data: None)
    try:
        for _ in pieces:
            pass
    finally:
        if close := getattr(pieces, "close", None):
            close()
