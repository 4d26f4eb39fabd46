"""Structured logs: one line a request, under its id. Bodies are never logged."""

import logging
import re
from json import dumps as json_dumps
from textwrap import indent
from time import monotonic

import orjson
from flask import Flask, Response, g, request

from engine.server.http.requests import request_id

log = logging.getLogger(__name__)
PLAIN = re.compile(r"[^\s\"'=\\]+")
"""A value that needs no quotes: no spaces, no quotes, no equals sign."""
INDENTATION = "    "
FIELDS = ("request_id", "method", "path", "status", "milliseconds", "client")


class PlainFormatter(logging.Formatter):
    """`12:00:01 INFO message field=value …`, on one line; the lines of a traceback are indented."""

    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record, "%H:%M:%S")
        fields = (f"{name}={_word(str(value))}" for name, value in _fields(record).items())
        message = record.getMessage()
        message = message if message.isprintable() else _quoted(message)
        line = " ".join((time, record.levelname, message, *fields))
        if not record.exc_info:
            return line
        return f"{line}\n{indent(self.formatException(record.exc_info), INDENTATION)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        } | _fields(record)
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(entry).decode()


def configure(json: bool) -> None:
    """Send all logs to standard error, readable by people or, with `json`, by machines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if json else PlainFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("waitress.queue", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


def install(app: Flask) -> None:
    """Log each request when its reply has been sent, and name it in a header."""

    @app.before_request
    def start() -> None:
        g.started = monotonic()

    @app.after_request
    def finish(response: Response) -> Response:
        fields = {
            "request_id": request_id(),
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "client": request.remote_addr,
        }
        started = g.started
        response.headers["X-Request-Id"] = fields["request_id"]

        @response.call_on_close
        def sent() -> None:
            took = round((monotonic() - started) * 1000, 1)
            log.info("request", extra=fields | {"milliseconds": took})

        return response


def _word(text: str) -> str:
    """A text as one word of a line, in quotes where it could be taken for several."""
    return text if PLAIN.fullmatch(text) and text.isprintable() else _quoted(text)


def _quoted(text: str) -> str:
    return json_dumps(text, ensure_ascii=not text.isprintable())


def _fields(record: logging.LogRecord) -> dict:
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
