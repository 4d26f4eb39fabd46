"""Work whose reply is one result: sent by itself, or after events that tell of its progress."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from time import monotonic
from typing import Any, Generic, TypeVar

from flask import Response

from engine.server.errors import UnavailableError
from engine.server.http.requests import client
from engine.server.http.responses import event_stream
from engine.server.jobs.job import Job, Progress
from engine.server.service import Service

SECONDS_BETWEEN = 0.1
"""How often at most a client is told of progress."""

Report = Callable[[int, int], None]
"""Called with how much of how much is done."""
Result = TypeVar("Result")


class Sweep(Generic[Result]):
    """Work in several steps of a `unit`, and the reply that is made of what it returns.

    `measure` runs on the generation thread, with what it is to call after each step.
    """

    def __init__(
        self, measure: Callable[[Report], Result], reply: Callable[[Result], dict[str, Any]]
    ) -> None:
        self._measure = measure
        self._reply = reply

    def answer(self, service: Service, *, stream: bool, unit: str) -> dict[str, Any] | Response:
        """The reply, or with `stream` the events that end with it."""

        def work(job: Job[Progress | tuple[Result]]) -> Generator[tuple[Result], None, None]:
            told = -SECONDS_BETWEEN

            def report(done: int, total: int) -> None:
                nonlocal told
                job.report(done, total, unit)
                if stream and job.progress and monotonic() - told >= SECONDS_BETWEEN:
                    told = monotonic()
                    job.put(job.progress)
                else:
                    job.checkpoint()

            yield (self._measure(report),)

        job = service.worker.submit(work, client())
        if stream:
            return event_stream(self._events(job), job)
        with closing(job):
            return self._whole(job)

    def _whole(self, job: Job[Progress | tuple[Result]]) -> dict[str, Any]:
        for event in job:
            if isinstance(event, tuple):
                return self._reply(event[0])
        raise UnavailableError("The request was cancelled: its client is gone.")

    def _events(self, job: Job[Progress | tuple[Result]]) -> Iterator[dict[str, Any]]:
        for event in job:
            if isinstance(event, Progress):
                yield {"type": "progress", "job_id": job.job_id, **asdict(event)}
            else:
                yield {"type": "result", "result": self._reply(event[0])}
