"""The web request that is being served: its body, query, id, and whether its client is there."""

import re
from typing import Any, TypeVar
from uuid import uuid4

from flask import g, request
from pydantic import ValidationError
from pydantic_core import from_json

from engine.contract.operations import Operation
from engine.contract.schemas import LARGEST, Request
from engine.server.errors import BodyTooLargeError, MalformedError, RequestError
from engine.server.jobs.job import Client
from engine.server.offences import offences
from engine.server.state.settings import Settings

Body = TypeVar("Body", bound=Request)
REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def body_of(kind: type[Body], settings: Settings) -> Body:
    """The validated body; raises MalformedError or BodyTooLargeError."""
    if (request.content_length or 0) > settings.max_body_bytes:
        raise BodyTooLargeError(
            f"The body contains {request.content_length} bytes; "
            f"at most {settings.max_body_bytes} are taken."
        )
    body = request.get_data(cache=False)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise MalformedError(offences(error, _parsed(body))) from None


def _parsed(body: bytes) -> Any:
    """A body as JSON; None if it is none."""
    try:
        return from_json(body)
    except ValueError:
        return None


def query_of(operation: Operation) -> dict[str, Any]:
    """The query parameters that the operation declares; any other is an error."""
    for name in request.args:
        if name not in operation.query:
            known = ", ".join(operation.query) or "none"
            raise RequestError(f"Unknown query parameter {name!r}; there are: {known}.", name)
    return {name: _value(name, kind) for name, (kind, _) in operation.query.items()}


def request_id() -> str:
    """The id under which this request is logged: the client's own, if it is a plain one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex[:16]
    return g.request_id


def client() -> Client:
    """Whose request this is; it is gone once it has closed its connection."""
    gone = request.environ.get("waitress.client_disconnected", lambda: False)
    number = request.environ.get("neuroscope.number", 0)
    return Client(gone, request.endpoint or "", request_id(), number)


def session() -> str | None:
    """The session that this request is of, by the header X-Session-Id; None if it names none.

    Raises RequestError for a name that is no plain one.
    """
    given = request.headers.get("X-Session-Id")
    if given is not None and not REQUEST_ID.fullmatch(given):
        raise RequestError(
            f"The header X-Session-Id does not match {REQUEST_ID.pattern}.", "X-Session-Id"
        )
    return given


def _value(name: str, kind: type | re.Pattern[str]) -> Any:
    text = request.args.get(name)
    if text is None or kind is str:
        return text
    if isinstance(kind, re.Pattern):
        if not kind.fullmatch(text):
            raise RequestError(f"{name}: {text!r} does not match {kind.pattern}.", name)
        return text
    if not (re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= LARGEST):
        raise RequestError(f"{name}: {text!r} is not a whole number from 0 to {LARGEST}.", name)
    return int(text)
