"""The captures that are kept: list, describe, read, forget."""

from flask import Response

from engine.contract import schemas as s
from engine.server.errors import UnknownCaptureError
from engine.server.http.responses import binary_response
from engine.server.service import Service
from engine.server.state.captures import AnyCapture


def list_captures(service: Service) -> dict:
    store = service.captures
    return {
        "captures": [_summary(capture) for capture in store.all()],
        "bytes": store.nbytes,
        "budget_bytes": store.budget_bytes,
    }


def describe(service: Service, capture_id: str) -> dict:
    capture = service.captures.get(capture_id)
    return _summary(capture) | {"activations": capture.manifest()}


def forget(service: Service, capture_id: str) -> s.ForgottenCapture:
    service.captures.forget(capture_id)
    return s.ForgottenCapture(capture_id=capture_id)


def read_tensors(
    service: Service, capture_id: str, hook_id: str | None, step: int | None
) -> Response:
    capture = service.captures.get(capture_id)
    if (hook_id, step) != (None, None):
        _check_there(capture, hook_id, step)
    return binary_response(*capture.body(hook_id, step))


def _check_there(capture: AnyCapture, hook_id: str | None, step: int | None) -> None:
    records = [record for each in capture.manifest().values() for record in each]
    if not any(hook_id in (None, r["hook_id"]) and step in (None, r["step"]) for r in records):
        known = ", ".join(record["tensor"] for record in records) or "nothing"
        raise UnknownCaptureError(
            f"{capture.capture_id} contains no tensor of hook {hook_id!r} at step {step}; it has "
            f"{known}.",
            "hook_id" if hook_id is not None else "step",
        )


def _summary(capture: AnyCapture) -> dict:
    return {
        "capture_id": capture.capture_id,
        "model": capture.model,
        "created": capture.created,
        "bytes": capture.nbytes,
    }
