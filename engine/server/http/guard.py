"""Who may talk to the server: Host and Origin against foreign pages, a token against strangers."""

import hmac
import ipaddress
from collections.abc import Container
from contextlib import suppress
from urllib.parse import urlsplit

from flask import Flask, Request, Response, request
from werkzeug.sansio.utils import host_is_trusted

from engine.server.errors import ForbiddenError, UnauthorizedError
from engine.server.state.settings import Settings

METHODS = "GET, POST, DELETE, OPTIONS"
HEADERS = "Authorization, Content-Type, X-Request-Id, X-Session-Id"
EXPOSED = "X-Request-Id, X-NeuroScope-Version, Retry-After"
PREFLIGHT_SECONDS = "600"


def install(app: Flask, settings: Settings, open_to_all: Container[str | None]) -> None:
    """Check each request before it is handled, and tell browsers which pages may read the reply.

    The endpoints that are `open_to_all` need no token.
    """

    @app.before_request
    def check() -> Response | None:
        _check_host(request, settings)
        _check_origin(request, settings)
        if request.method == "OPTIONS":
            response = Response(status=204)
            del response.headers["Content-Type"]  # of a body, and there is none
            return response
        if request.endpoint not in open_to_all:
            _check_token(request, settings)
        return None

    @app.after_request
    def share(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if origin and origin_allowed(origin, settings):
            response.headers.update(
                {
                    "Access-Control-Allow-Origin": origin,
                    "Access-Control-Allow-Methods": METHODS,
                    "Access-Control-Allow-Headers": HEADERS,
                    "Access-Control-Expose-Headers": EXPOSED,
                    "Access-Control-Max-Age": PREFLIGHT_SECONDS,
                }
            )
            if "Access-Control-Request-Private-Network" in request.headers:
                response.headers["Access-Control-Allow-Private-Network"] = "true"
        response.vary.add("Origin")
        return response


def host_allowed(host: str, settings: Settings) -> bool:
    """Whether a Host header names this server. DNS rebinding needs a name, so addresses pass."""
    name = _hostname(f"//{host}")
    return host_is_trusted(host, ["localhost", *settings.allowed_hosts]) or (
        name is not None and _is_address(name)
    )


def origin_allowed(origin: str, settings: Settings) -> bool:
    """Whether a page of this origin may use the server: named ones, and localhost's."""
    return origin in settings.allowed_origins or is_loopback(_hostname(origin))


def is_loopback(name: str | None) -> bool:
    if name is None:
        return False
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def _check_host(request: Request, settings: Settings) -> None:
    host = request.headers.get("Host", "")
    if not host_allowed(host, settings):
        raise ForbiddenError(f"The Host {host!r} is not this server's; allow it by --allow-host.")


def _check_origin(request: Request, settings: Settings) -> None:
    origin = request.headers.get("Origin")
    if origin is None or origin == f"{request.scheme}://{request.host}":  # the server's own page
        return
    if not origin_allowed(origin, settings):
        raise ForbiddenError(
            f"Pages of {origin!r} may not use this server; allow them by --allow-origin."
        )


def _check_token(request: Request, settings: Settings) -> None:
    if settings.token is None:
        return
    header = request.headers.get("Authorization", "").encode("latin-1")
    scheme, _, given = header.partition(b" ")
    fits = [hmac.compare_digest(given.strip(b" \t"), each) for each in _as_sent(settings.token)]
    if scheme.lower() != b"bearer" or not any(fits):
        raise UnauthorizedError("A bearer token is required: Authorization: Bearer …")


def _as_sent(token: str) -> list[bytes]:
    """The bytes of a token in a header: in UTF-8, or in Latin-1 as HTTP once had it."""
    encoded = [token.encode("utf-8", "surrogateescape")]
    with suppress(UnicodeEncodeError):
        encoded.append(token.encode("latin-1"))
    return encoded


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
