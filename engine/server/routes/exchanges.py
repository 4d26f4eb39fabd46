"""Exchanges: forward passes that stop at hook points for what their client makes of the values."""

from functools import partial
from typing import Any

import numpy as np

from engine.captures.records import CapturedActivation
from engine.contract import schemas as s
from engine.interventions.intervention import Intervention
from engine.runs.forward import ForwardResult
from engine.server.exchange import Ask, Event
from engine.server.forward_pass import ForwardPass
from engine.server.models import LoadedModel
from engine.server.requests import client_gone
from engine.server.service import Service
from engine.server.wire import record_json, tensor_array
from engine.taps.points import Point


def begin(service: Service, request: s.ExchangeRequest) -> dict[str, Any]:
    asked = ForwardPass.of(service, request)
    exchange = service.exchanges.start()

    def run(ask: Ask) -> ForwardResult:
        return asked.run([_stopping(stop, asked.model, ask) for stop in request.stops])

    describe = partial(_state, exchange.exchange_id, asked, request.stop_format)
    return exchange.begin(service.worker, run, describe, client_gone())


def go_on(service: Service, exchange_id: str, request: s.GoOnRequest) -> dict[str, Any]:
    value = None if request.value is None else tensor_array(request.value, "value")
    return service.exchanges.get(exchange_id).go_on(value, client_gone())


def cancel(service: Service, exchange_id: str) -> s.CancelledExchange:
    service.exchanges.get(exchange_id).cancel()
    return s.CancelledExchange(exchange_id=exchange_id)


def _stopping(stop: s.StopSpec, model: LoadedModel, ask: Ask) -> Intervention:
    """The intervention that asks the client what the value is to be."""

    def function(value: np.ndarray, point: Point, positions: tuple[int, ...]) -> np.ndarray | None:
        return ask(
            CapturedActivation(
                hook_id=stop.hook_id or _default_id(point),
                layer_name=(
                    stop.layer_name
                    if point.layer is None
                    else model.kit.structure.layer_names[point.layer]
                ),
                layer=point.layer,
                component=point.component,
                step=0,
                positions=(positions[0], positions[-1]),
                is_input=False,
                dtype="float32",
                data=value,
            )
        )

    return Intervention(
        stop.layer_name,
        stop.component,
        "function",
        heads=None if stop.heads is None else tuple(stop.heads),
        positions=None if stop.positions is None else tuple(stop.positions),
        function=function,
    )


def _default_id(point: Point) -> str:
    if point.layer is None:
        return f"{point.component}_output"
    return f"layer_{point.layer}_{point.component}"


def _state(exchange_id: str, asked: ForwardPass, form: str, event: Event) -> dict[str, Any]:
    if isinstance(event, ForwardResult):
        return {"exchange_id": exchange_id, "state": "done", "result": asked.reply(event)}
    return {"exchange_id": exchange_id, "state": "stopped", "stop": record_json(event, form)}
