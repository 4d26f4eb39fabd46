"""Sessions: runs that stop at hook points for what their client makes of the values."""

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.captures.records import CapturedActivation, listed, step_of
from engine.contract import schemas as s
from engine.interventions.intervention import Intervention
from engine.server.errors import ImpossibleError
from engine.server.http.forward_pass import ForwardPass
from engine.server.http.requests import client
from engine.server.http.routes.generation import completion_choices
from engine.server.http.specs import positions as positions_asked
from engine.server.jobs.job import Job
from engine.server.jobs.sessions import Ask, Event, Run
from engine.server.service import Service
from engine.server.state.models import LoadedModel
from engine.server.wire.records import record_json, tensor_array
from engine.taps.points import Point


def begin_forward(service: Service, request: s.ForwardSessionRequest) -> dict[str, Any]:
    asked = ForwardPass.of(service, request)
    breakpoints = Breakpoints(request, asked.model, prompt=len(asked.batch[0]), passes=1)
    return _begin(
        service, breakpoints, lambda job, ask: asked.run(job, breakpoints.asking(ask)), asked.reply
    )


def begin_completion(service: Service, request: s.CompletionSessionRequest) -> dict[str, Any]:
    choices = completion_choices(service, request)
    (choice,) = choices.all
    generation = choice.generation
    if generation.draft is not None:
        raise ImpossibleError(
            "draft_model: a session stops in passes over one token of the text each.", "draft_model"
        )
    breakpoints = Breakpoints(
        request,
        generation.model,
        prompt=len(generation.prompt.tokens),
        passes=generation.sampling.max_tokens,
    )

    def run(job: Job, ask: Ask) -> list[tuple[int, Any]]:
        events = []
        for step in generation.steps(job, breakpoints.asking(ask)):
            job.checkpoint()
            events.append((choice.index, step))
        return events

    return _begin(service, breakpoints, run, choices.body)


def continue_session(
    service: Service, session_id: str, request: s.ContinueSessionRequest
) -> dict[str, Any]:
    value = None if request.value is None else tensor_array(request.value, "value")
    return service.sessions.get(session_id).resume(value, client().gone)


def keep(service: Service, session_id: str) -> s.KeptSession:
    seconds = service.sessions.get(session_id).keep()
    return s.KeptSession(session_id=session_id, seconds=seconds)


def cancel(service: Service, session_id: str) -> s.CancelledSession:
    service.sessions.get(session_id).cancel()
    return s.CancelledSession(session_id=session_id)


class Breakpoints:
    """The breakpoints of one run: `prompt` tokens, then one token in each of the other `passes`."""

    def __init__(self, request: s.WithBreakpoints, model: LoadedModel, *, prompt: int, passes: int):
        self.form = request.breakpoint_format
        self._specs = request.breakpoints
        self._model = model
        self._prompt = prompt
        self._passes = passes

    def asking(self, ask: Ask) -> list[Intervention]:
        """The interventions that ask the client what the values are to be."""
        return [self._intervention(spec, ask) for spec in self._specs]

    def _intervention(self, spec: s.BreakpointSpec, ask: Ask) -> Intervention:
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
            positions=positions_asked(spec.positions),
            function=function,
        )

    def _record(
        self, spec: s.BreakpointSpec, value: np.ndarray, point: Point, positions: tuple[int, ...]
    ) -> CapturedActivation:
        names = self._model.kit.structure.layer_names
        return CapturedActivation(
            hook_id=spec.hook_id or point.default_id,
            layer_name=spec.layer_name if point.layer is None else names[point.layer],
            layer=point.layer,
            component=point.component,
            step=step_of(positions[0], self._prompt),
            positions=(positions[0], positions[-1]),
            position_list=listed(positions),
            is_input=point.is_input,
            dtype="float32",
            data=value,
        )


def _begin(
    service: Service, breakpoints: Breakpoints, run: Run, reply: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    session = service.sessions.start()

    def described(event: Event) -> dict[str, Any]:
        state = {"session_id": session.session_id}
        if isinstance(event, CapturedActivation):
            return state | {"state": "paused", "breakpoint": record_json(event, breakpoints.form)}
        return state | {"state": "done", "result": reply(event)}

    return session.begin(service.worker, run, described, client())
