"""Exchanges: runs that stop at hook points for what their client makes of the values."""

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.captures.records import CapturedActivation
from engine.contract import schemas as s
from engine.interventions.intervention import Intervention
from engine.server.exchange import Ask, Event, Run
from engine.server.forward_pass import ForwardPass
from engine.server.generate import Generation
from engine.server.job import Job
from engine.server.models import LoadedModel
from engine.server.prompts import prompt_tokens
from engine.server.replies import CompletionReply
from engine.server.requests import client_gone
from engine.server.service import Service
from engine.server.wire import record_json, tensor_array
from engine.taps.points import Point


def begin_forward(service: Service, request: s.ExchangeRequest) -> dict[str, Any]:
    asked = ForwardPass.of(service, request)
    stops = Stops(request, asked.model, prompt=len(asked.batch[0]), passes=1)
    return _begun(service, stops, lambda job, ask: asked.run(stops.asking(ask)), asked.reply)


def begin_completion(service: Service, request: s.CompletionExchangeRequest) -> dict[str, Any]:
    model = service.models.get(request.model)
    tokens = prompt_tokens(model, request.prompt, service.settings)
    asked = Generation.of(service, tokens, request, CompletionReply(model, request.logprobs))
    stops = Stops(request, model, prompt=len(tokens), passes=request.max_tokens)

    def run(job: Job, ask: Ask) -> list[Any]:
        steps = []
        for step in asked.steps(job, stops.asking(ask)):
            job.checkpoint()
            steps.append(step)
        return steps

    return _begun(service, stops, run, asked.body)


def go_on(service: Service, exchange_id: str, request: s.GoOnRequest) -> dict[str, Any]:
    value = None if request.value is None else tensor_array(request.value, "value")
    return service.exchanges.get(exchange_id).go_on(value, client_gone())


def cancel(service: Service, exchange_id: str) -> s.CancelledExchange:
    service.exchanges.get(exchange_id).cancel()
    return s.CancelledExchange(exchange_id=exchange_id)


class Stops:
    """The stops of one run: `prompt` tokens, then one token in each of the other `passes`."""

    def __init__(self, request: s.Stopping, model: LoadedModel, *, prompt: int, passes: int):
        self.form = request.stop_format
        self._specs = request.stops
        self._model = model
        self._prompt = prompt
        self._passes = passes

    def asking(self, ask: Ask) -> list[Intervention]:
        """The interventions that ask the client what the values are to be."""
        return [self._intervention(spec, ask) for spec in self._specs]

    def _intervention(self, spec: s.StopSpec, ask: Ask) -> Intervention:
        def function(
            value: np.ndarray, point: Point, positions: tuple[int, ...]
        ) -> np.ndarray | None:
            record = self._record(spec, value, point, positions)
            # What mlx-lm calculates ahead of the last token decides nothing.
            return ask(record) if record.step < self._passes else None

        return Intervention(
            spec.layer_name,
            spec.component,
            "function",
            heads=None if spec.heads is None else tuple(spec.heads),
            positions=None if spec.positions is None else tuple(spec.positions),
            function=function,
        )

    def _record(
        self, spec: s.StopSpec, value: np.ndarray, point: Point, positions: tuple[int, ...]
    ) -> CapturedActivation:
        names = self._model.kit.structure.layer_names
        return CapturedActivation(
            hook_id=spec.hook_id or _default_id(point),
            layer_name=spec.layer_name if point.layer is None else names[point.layer],
            layer=point.layer,
            component=point.component,
            step=max(0, positions[0] - self._prompt + 1),
            positions=(positions[0], positions[-1]),
            is_input=False,
            dtype="float32",
            data=value,
        )


def _default_id(point: Point) -> str:
    if point.layer is None:
        return f"{point.component}_output"
    return f"layer_{point.layer}_{point.component}"


def _begun(
    service: Service, stops: Stops, run: Run, reply: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    exchange = service.exchanges.start()

    def described(event: Event) -> dict[str, Any]:
        state = {"exchange_id": exchange.exchange_id}
        if isinstance(event, CapturedActivation):
            return state | {"state": "stopped", "stop": record_json(event, stops.form)}
        return state | {"state": "done", "result": reply(event)}

    return exchange.begin(service.worker, run, described, client_gone())
