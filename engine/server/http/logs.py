"""Structured logs: one line a request, under its id. Bodies are never logged."""

import logging
from time import monotonic

import orjson
from flask import Flask, Response, g, request

from engine.server.http.requests import request_id

log = logging.getLogger(__name__)
FIELDS = ("request_id", "method", "path", "status", "milliseconds", "client")


class PlainFormatter(logging.Formatter):
    """`12:00:01 INFO message field=value …`, on one line but for a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record, "%H:%M:%S")
        fields = (f"{name}={_one_line(value)}" for name, value in _fields(record).items())
        message = _one_line(record.getMessage())
        line = " ".join((time, record.levelname, message, *fields))
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


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


def _one_line(value: object) -> str:
    """The text of a value, quoted if a client put more than printable characters into it."""
    text = str(value)
    return text if text.isprintable() else repr(text)


def _fields(record: logging.LogRecord) -> dict:
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
