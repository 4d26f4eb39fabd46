"""Debug sessions: a forward pass in steps."""

from collections.abc import Callable
from typing import Any, TypeVar

import mlx.core as mx
import numpy as np

from engine.analysis.debugger import (
    ForwardDebugger,
    Stop,
    Target,
    next_layer,
    next_point,
    nowhere,
)
from engine.analysis.forks import fork as engine_fork
from engine.analysis.logit_lens import unembedded
from engine.captures.records import CapturedActivation
from engine.components import ComponentType
from engine.contract import schemas as s
from engine.errors import UnknownPositionError
from engine.field_names import field_name
from engine.server.errors import ImpossibleError
from engine.server.http import specs
from engine.server.http.prompts import prompt_tokens
from engine.server.http.requests import client
from engine.server.http.requests import session as client_session
from engine.server.http.steered import not_steered
from engine.server.http.top_tokens import top_tokens
from engine.server.http.warnings import warnings
from engine.server.jobs.job import Job
from engine.server.service import Service
from engine.server.state.debug_sessions import DebugSession
from engine.server.wire.records import record_json, tensor_array

Result = TypeVar("Result")
TARGETS: dict[str, Target] = {"layer": next_layer, "point": next_point, "end": nowhere}
LIKELIEST = 10
"""How many next tokens are listed, unless the request says how many."""
MOST_TOKENS = 100
"""How many a request may ask for."""


def begin(service: Service, request: s.DebugRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    special = request.add_special_tokens
    tokens = prompt_tokens(model, request.prompt, service.settings, special=special)
    changes = specs.interventions(request.interventions, service.captures, model)
    sessions, asker = service.debug_sessions, client_session()

    def work(job: Job) -> dict[str, Any]:
        session = sessions.begin(
            model, lambda allow: ForwardDebugger(model.kit, tokens, changes, allow)
        )
        return _state(service, session, asker)

    return service.worker.call(work, client())


def describe(service: Service, session_id: str) -> dict[str, Any]:
    return _then_described(service, session_id, lambda session: None)


def step(service: Service, session_id: str, request: s.DebugStepRequest) -> dict[str, Any]:
    if request.component is not None and request.layer_name is None:
        raise ImpossibleError("component: it goes with layer_name", "component")

    def work(session: DebugSession) -> None:
        debugger = session.debugger
        if request.layer_name is None:
            target = TARGETS[request.to or ""]
        else:
            target = debugger.target(request.layer_name, request.component)
        debugger.step(target)

    return _then_described(service, session_id, work)


def restart(service: Service, session_id: str, request: s.DebugRestartRequest) -> dict[str, Any]:
    return _then_described(
        service, session_id, lambda session: session.debugger.restart(request.layer)
    )


def change(service: Service, session_id: str, request: s.DebugChangeRequest) -> dict[str, Any]:
    value = None if request.value is None else tensor_array(request.value, "value")
    return _then_described(service, session_id, lambda session: session.debugger.change(value))


def read(service: Service, session_id: str, position: int | None) -> dict[str, Any]:
    record = _working(service, session_id, lambda session: _record(session.debugger, position))
    return record_json(record, "base64")


def logit_lens(
    service: Service, session_id: str, position: int | None, top_k: int | None
) -> dict[str, Any]:
    count = LIKELIEST if top_k is None else top_k
    if not 1 <= count <= MOST_TOKENS:
        raise ImpossibleError(f"top_k: {count} is not from 1 to {MOST_TOKENS}", "top_k")

    def work(session: DebugSession) -> dict[str, Any]:
        debugger = session.debugger
        where = _checked(debugger, position)
        stream = debugger.residual[:, where : where + 1]
        (logits,) = unembedded(debugger.kit, debugger.tokens, stream)
        return {
            "session_id": session_id,
            "at": _place(debugger.stop),
            "position": where,
            "top": top_tokens(session.model, logits, count),
        }

    return _working(service, session_id, work)


def fork(service: Service, session_id: str, request: s.DebugForkRequest) -> dict[str, Any]:
    value = None if request.value is None else tensor_array(request.value, "value")

    def work(session: DebugSession) -> dict[str, Any]:
        found = engine_fork(session.debugger, value)
        return {
            "session_id": session_id,
            "divergence": found.divergence,
            "top": [top_tokens(session.model, row, request.top_k) for row in found.logits],
            "layers": [
                {
                    "layer": each.layer,
                    "distance": each.distance,
                    "last_distance": each.last_distance,
                    "divergence": each.divergence,
                    "top": [top_tokens(session.model, row, 1)[0] for row in each.lens],
                }
                for each in found.layers
            ],
        }

    return _working(service, session_id, work)


def end(service: Service, session_id: str) -> s.EndedDebugSession:
    service.debug_sessions.end(session_id, "it was ended on request")
    return s.EndedDebugSession(session_id=session_id)


def _working(service: Service, session_id: str, work: Callable[[DebugSession], Result]) -> Result:
    """What some work with a session returns, done on the generation thread."""
    with service.debug_sessions.using(session_id) as session:
        return service.worker.call(lambda job: work(session), client())


def _then_described(
    service: Service, session_id: str, work: Callable[[DebugSession], None]
) -> dict[str, Any]:
    """The state of a session after some work with it."""
    asker = client_session()

    def described(session: DebugSession) -> dict[str, Any]:
        work(session)
        return _state(service, session, asker)

    return _working(service, session_id, described)


def _state(service: Service, session: DebugSession, asker: str | None) -> dict[str, Any]:
    debugger, model = session.debugger, session.model
    stop, value = debugger.stop, debugger.value
    logits = np.array(value.astype(mx.float32)) if stop is None else None
    return {
        "session_id": session.session_id,
        "model": model.id,
        "tokens": debugger.tokens,
        "texts": model.token_texts(debugger.tokens),
        "state": "done" if stop is None else "stopped",
        "at": _place(stop),
        "layer": debugger.layer,
        "shape": list(value.shape),
        "is_changed": stop is not None and stop in debugger.changed,
        "changes": [_place(each) for each in debugger.changed],
        "top": [] if logits is None else top_tokens(model, logits[0, 0], LIKELIEST),
        "bytes": debugger.nbytes,
        "seconds": service.debug_sessions.patience,
        **warnings(model, len(debugger.tokens), not_steered(service, model, asker)),
    }


def _place(stop: Stop | None) -> dict[str, Any] | None:
    if stop is None:
        return None
    layer, component, is_input = stop.point
    return {
        "layer": layer,
        "component": component.value,
        "is_input": is_input,
        "field_name": field_name(component, layer, is_input),
    }


def _checked(debugger: ForwardDebugger, position: int | None) -> int:
    """A position of the prompt; the last one by default."""
    length = len(debugger.tokens)
    if position is not None and position >= length:
        raise UnknownPositionError(f"position {position}: there are positions 0 to {length - 1}")
    return length - 1 if position is None else position


def _record(debugger: ForwardDebugger, position: int | None) -> CapturedActivation:
    """The value here, at all positions or at one; at the end the logits of the last."""
    length, stop = len(debugger.tokens), debugger.stop
    if stop is None:
        first, last, value = length - 1, length - 1, debugger.value
        if position not in (None, first):
            raise UnknownPositionError(f"position {position}: at the end there is {first} alone")
    elif position is None:
        first, last, value = 0, length - 1, debugger.value
    else:
        first = last = _checked(debugger, position)
        value = debugger.value_at(first)
    point = None if stop is None else stop.point
    component = ComponentType.LOGITS if point is None else point.component
    layer = None if point is None else point.layer
    names = debugger.kit.structure.layer_names
    return CapturedActivation(
        hook_id="value",
        layer_name=component.value if layer is None else names[layer],
        layer=layer,
        component=component,
        step=0,
        positions=(first, last),
        is_input=point is not None and point.is_input,
        dtype="float32",
        data=np.array(value.astype(mx.float32)),
    )
