"""The captures that are kept: list, describe, read, forget."""

from flask import Response

from engine.contract import schemas as s
from engine.server.errors import UnknownCaptureError
from engine.server.http.responses import binary_response
from engine.server.service import Service
from engine.server.state.captures import Capture
from engine.server.wire import safetensors_body
from engine.server.wire.records import activations_json


def list_captures(service: Service) -> dict:
    store = service.captures
    return {
        "captures": [_summary(capture) for capture in store.all()],
        "bytes": store.nbytes,
        "budget_bytes": store.budget_bytes,
    }


def describe(service: Service, capture_id: str) -> dict:
    capture = service.captures.get(capture_id)
    return _summary(capture) | {"activations": activations_json(capture.activations, "reference")}


def forget(service: Service, capture_id: str) -> s.ForgottenCapture:
    service.captures.forget(capture_id)
    return s.ForgottenCapture(capture_id=capture_id)


def read_tensors(
    service: Service, capture_id: str, hook_id: str | None, step: int | None
) -> Response:
    capture = service.captures.get(capture_id)
    records = list(capture.records(hook_id, step))
    if not records and (hook_id, step) != (None, None):
        known = ", ".join(map(safetensors_body.tensor_name, capture.records())) or "nothing"
        raise UnknownCaptureError(
            f"{capture_id} contains no tensor of hook {hook_id!r} at step {step}; it has {known}.",
            "hook_id" if hook_id is not None else "step",
        )
    size, pieces = safetensors_body.body(
        safetensors_body.tensors(records), {"capture_id": capture_id, "model": capture.model}
    )
    return binary_response(size, pieces)


def _summary(capture: Capture) -> dict:
    return {
        "capture_id": capture.capture_id,
        "model": capture.model,
        "created": capture.created,
        "bytes": capture.nbytes,
    }
