"""Replies as HTTP: JSON bodies, event streams, errors."""

import logging
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, cast

from flask import Response
from pydantic import BaseModel
from werkzeug.exceptions import MethodNotAllowed

from engine.server.errors import RETRY_AFTER, UnavailableError, error_body, error_detail
from engine.server.jobs.job import Job
from engine.server.panics import panics_as_errors
from engine.server.wire.json_text import json_pieces, json_text

log = logging.getLogger(__name__)


def answer(body: Any) -> Response:
    """A Response as it is; a pydantic model or anything JSON-ready as JSON."""
    if isinstance(body, Response):
        return body
    if isinstance(body, BaseModel):
        body = body.model_dump(mode="json")
    size, pieces = json_pieces(body)
    response = Response(pieces, mimetype="application/json")
    response.content_length = size
    return response


def text_response(text: str) -> Response:
    """A text, as plain text in UTF-8."""
    return Response(text, content_type="text/plain; charset=utf-8")


def binary_response(size: int, pieces: Iterator[bytes | memoryview]) -> Response:
    """A body of `size` bytes, sent piece by piece as it lies in memory."""
    response = Response(mimetype="application/octet-stream", direct_passthrough=True)
    response.response = cast(Iterator[bytes], pieces)  # WSGI servers send any buffer
    response.content_length = size
    return response


def error_response(error: Exception) -> Response:
    detail = error_detail(error)
    if detail.code == 500:
        log.error("unforeseen error", exc_info=error)
    response = Response(json_text(error_body(error)), detail.code, mimetype="application/json")
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    if detail.code == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    if detail.code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def data_event(event: dict[str, Any] | None) -> bytes:
    """An event as OpenAI frames it; None is the end of the stream."""
    return b"data: " + (b"[DONE]" if event is None else json_text(event)) + b"\n\n"


def named_event(event: dict[str, Any] | None) -> bytes:
    """An event with its type as its name, as LM Studio and OpenAI's responses frame it; they have
    no end but the last event."""
    if event is None:
        return b""
    told = event if "type" in event else {"type": "error"} | event
    return f"event: {told['type']}\n".encode() + b"data: " + json_text(told) + b"\n\n"


def event_stream(
    events: Iterator[dict[str, Any]],
    job: Job,
    framed: Callable[[dict[str, Any] | None], bytes] = data_event,
) -> Response:
    """Server-sent events, each sent as soon as it is there.

    What fails before the first event gets its own status; what fails later is the
    last event, an error body. A client that goes away ends the job.
    """
    try:
        first = next(events)
    except StopIteration:
        raise UnavailableError("The request was cancelled before its first token.") from None
    response = Response(_lines(chain([first], events), framed), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-cache"
    response.call_on_close(job.close)
    return response


def _lines(
    events: Iterator[dict[str, Any]], framed: Callable[[dict[str, Any] | None], bytes]
) -> Iterator[bytes]:
    try:
        with panics_as_errors():
            for event in events:
                yield framed(event)
    except Exception as error:
        if error_detail(error).code == 500:
            log.error("unforeseen error in a stream", exc_info=error)
        yield framed(error_body(error))
    else:
        yield framed(None)
