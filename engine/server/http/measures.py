"""Requests and their replies, counted."""

from time import monotonic

from flask import Flask, Response, g, request

from engine.server.metrics import Metrics


def install(app: Flask, metrics: Metrics) -> None:
    """Count each request when its reply has been sent."""

    @app.before_request
    def start() -> None:
        g.began = monotonic()

    @app.after_request
    def finish(response: Response) -> Response:
        operation, status, began = request.endpoint or "none", response.status_code, g.began
        response.call_on_close(lambda: metrics.replied(operation, status, monotonic() - began))
        return response
