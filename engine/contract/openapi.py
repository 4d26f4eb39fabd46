"""The OpenAPI 3.1 document of the endpoint, built from the operations alone."""

import json
import re
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from engine.contract.operations import OPERATIONS, Operation
from engine.contract.schemas import LARGEST, ErrorResponse, ProgressEvent
from engine.field_names import FIELD_NAMES

API_VERSION = "1.0.0"
REASONS = {
    400: "Malformed: not what this document declares.",
    401: "No token, or a wrong one.",
    403: "Not allowed: a foreign Host or Origin, or a model path outside the allowed roots.",
    404: "No such model, hook, capture or session, or no model loaded.",
    409: "A hook with this id is registered already, or a session is under way.",
    410: "The session is over; the message says why.",
    413: "Body too large.",
    422: "Unknown layer, component, head, neuron, position or token, or more than this server "
    "allows.",
    503: "The queue is full, or the server is shutting down; Retry-After says when to try again.",
    507: "The capture, or the weight, would pass the memory budget.",
}
EVERYWHERE = (401, 403)
JSON = "application/json"
EVENTS = {
    "parts": "Each event: `data` is a part of the reply as JSON, and at last `[DONE]`.",
    "progress": "Each event: `data` is a ProgressEvent as JSON; then, in the last but one, "
    '`{"type": "result", "result": …}` with the reply as it is without `stream`; and at last '
    "`[DONE]`. What fails after the first event is the last one: an ErrorResponse.",
}


def openapi_document() -> dict[str, Any]:
    """The document as JSON-ready dictionaries, in a stable order."""
    models = {m for o in OPERATIONS for m in (o.request, o.response) if m}
    models |= {ErrorResponse, ProgressEvent}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, definitions = models_json_schema(
        [(m, "validation") for m in ordered], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "NeuroScope bridge",
            "version": API_VERSION,
            "description": "Look inside, and reach inside, any mlx-lm model.",
            "license": {"name": "MIT", "identifier": "MIT"},
            "x-smalltalk-class": "LMStudioRESTClient",
        },
        "servers": [{"url": "http://127.0.0.1:50111"}],
        "security": [{}, {"bearer": []}],
        "x-field-names": [
            {"name": name, "component": row.component.value, "is_input": row.is_input}
            for row in FIELD_NAMES
            for name in row.names
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(sorted(definitions["$defs"].items())),
        },
    }


def openapi_json() -> str:
    """The document as the committed file contains it, byte for byte."""
    return json.dumps(openapi_document(), indent=2, ensure_ascii=False) + "\n"


def write_openapi(path: Path) -> None:
    path.write_text(openapi_json(), encoding="utf-8", newline="\n")


def _operation(operation: Operation) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "x-smalltalk-selector": list(operation.smalltalk),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ] + [
        {
            "name": name,
            "in": "query",
            "description": text,
            "schema": _query_schema(kind),
        }
        for name, (kind, text) in operation.query.items()
    ]
    if parameters:
        entry["parameters"] = parameters
    if operation.request:
        entry["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": _ref(operation.request)}},
        }
    entry["responses"] = {"200": _success(operation)} | {
        str(code): {
            "description": REASONS[code],
            "content": {JSON: {"schema": _ref(ErrorResponse)}},
        }
        for code in sorted({*EVERYWHERE, *operation.errors})
    }
    return entry


def _query_schema(kind: type | re.Pattern[str]) -> dict[str, Any]:
    if isinstance(kind, re.Pattern):
        return {"type": "string", "pattern": kind.pattern}
    if kind is int:
        return {"type": "integer", "minimum": 0, "maximum": LARGEST}
    return {"type": "string"}


def _success(operation: Operation) -> dict[str, Any]:
    if operation.response:
        schema: dict[str, Any] = _ref(operation.response)
    elif operation.media_type == JSON:
        schema = {"type": "object"}
    elif operation.media_type == "text/plain":
        schema = {"type": "string"}
    else:
        schema = {"type": "string", "format": "binary"}
    content: dict[str, Any] = {operation.media_type: {"schema": schema}}
    if operation.streams:
        content["text/event-stream"] = {
            "schema": _event(operation.streams),
            "x-events": operation.streams,
        }
    return {"description": "Done.", "content": content}


def _event(streams: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": EVENTS[streams],
        "properties": {"data": {"type": "string"}},
        "required": ["data"],
    }


def _ref(model: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
