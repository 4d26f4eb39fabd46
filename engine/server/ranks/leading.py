"""The first rank: tells the others of each request that may change something or needs MLX."""

import base64
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import count
from threading import Lock
from typing import Any
from wsgiref.types import WSGIApplication

from engine.parallel.channel import Lead
from engine.server.identifiers import identified_by

NUMBER = "neuroscope.number"
"""Where a request's environment has its number."""
KEPT = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "SERVER_PROTOCOL")
ONLY_HERE = ("/health", "/metrics", "/openapi.json", "/page", "/smalltalk", "/v1/jobs")
"""Paths below which nothing needs the other ranks."""

Wsgi = WSGIApplication


class LeadingAgreement:
    """The first rank decides, and tells."""

    leads = True

    def __init__(self, lead: Lead):
        self._lead = lead

    def agree(self, what: str, value: Any) -> Any:
        self._lead.tell("agree", what, value)
        return value


class Repeated:
    """A WSGI application whose requests the other ranks get too, each with a number."""

    def __init__(self, app: Wsgi, lead: Lead, secret: str, over: Callable[[int], None]):
        self._app = app
        self._lead = lead
        self._secret = secret
        self._over = over
        self._numbers = count(1)
        self._lock = Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(ONLY_HERE) or environ["REQUEST_METHOD"] == "OPTIONS":
            return self._app(environ, start)
        body = environ["wsgi.input"].read()
        environ["wsgi.input"] = BytesIO(body)
        with self._lock:
            number = environ[NUMBER] = next(self._numbers)
            self._lead.tell("request", number, _told(environ), base64.b64encode(body).decode())
        return self._replied(environ, start, number)

    def _replied(
        self, environ: dict[str, Any], start: Callable[..., Any], number: int
    ) -> Iterator[bytes]:
        pieces: Iterable[bytes] = ()
        whole = False
        try:
            with identified_by(self._secret, number):
                pieces = self._app(environ, start)
            yield from pieces
            whole = True
        finally:
            if close := getattr(pieces, "close", None):
                close()
            self._over(number)
            self._lead.tell("over", number, whole)


def _told(environ: dict[str, Any]) -> dict[str, str]:
    headers = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    return {name: environ[name] for name in KEPT if name in environ} | headers
