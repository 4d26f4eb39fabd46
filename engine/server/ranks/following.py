"""Every other rank: does what the first one does, and shows it to nobody."""

import base64
from collections.abc import Callable
from io import BytesIO
from queue import SimpleQueue
from threading import Thread
from typing import Any

from engine.parallel.channel import Followed
from engine.server.identifiers import identified_by
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


class Following:
    """Takes what the first rank says, until it ends: decisions for the generation thread, requests
    for the application, whose replies nobody gets.

    A request is begun once those that the first rank had replied to before are at their end here
    too, so that it finds what they left.
    """

    def __init__(self, followed: Followed, agreement: FollowingAgreement):
        self._followed = followed
        self._agreement = agreement
        self._requests: SimpleQueue[list[Any]] = SimpleQueue()

    def run(self, app: Wsgi, secret: str, over: Callable[[int], None], load: Thread) -> None:
        """Returns once the first rank has ended. No request is begun before `load` is over."""
        repeating = Thread(target=self._repeat, args=(app, secret, over, load), daemon=True)
        load.start()
        repeating.start()
        while True:
            try:
                kind, *told = self._followed.hear()
            except EOFError:
                return
            if kind == "agree":
                self._agreement.decisions.put((told[0], told[1]))
            else:
                self._requests.put([kind, *told])

    def _repeat(self, app: Wsgi, secret: str, over: Callable[[int], None], load: Thread) -> None:
        load.join()
        under_way: dict[int, Thread] = {}
        while True:
            kind, number, *told = self._requests.get()
            if kind == "request":
                environ, body = told
                request = _environ(number, environ, base64.b64decode(body))
                under_way[number] = Thread(target=_reply, args=(app, secret, request), daemon=True)
                under_way[number].start()
            else:
                (is_whole,) = told
                thread = under_way.pop(number)
                if is_whole:  # of others the first rank has yet to decide
                    thread.join(PATIENCE)
                over(number)


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


def _reply(app: Wsgi, secret: str, environ: dict[str, Any]) -> None:
    with identified_by(secret, environ[NUMBER]):
        pieces = app(environ, lambda *status: lambda data: None)
    try:
        for _ in pieces:
            pass
    finally:
        if close := getattr(pieces, "close", None):
            close()
