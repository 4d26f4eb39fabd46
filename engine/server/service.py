"""What the operations work with."""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx

from engine.captures.host_memory import host_memory
from engine.server.jobs.generation_thread import GenerationThread
from engine.server.jobs.sessions import Sessions
from engine.server.state.captures import CaptureStore
from engine.server.state.models import Models
from engine.server.state.settings import Settings


@dataclass(frozen=True)
class Service:
    """One server's parts; every operation is a function of these and its request."""

    settings: Settings
    models: Models
    captures: CaptureStore
    worker: GenerationThread
    sessions: Sessions


def create_service(settings: Settings, on_death: Callable[[], None]) -> Service:
    """The parts of a server, its generation thread started."""
    worker = GenerationThread(
        queue_size=settings.queue_size,
        stuck_after=settings.stuck_after,
        patience=settings.client_patience,
        on_death=on_death,
    )
    worker.start()
    if settings.memory_bytes is not None:
        mx.set_memory_limit(settings.memory_bytes)
    if pool := host_memory():
        pool.budget_bytes = settings.capture_bytes
    store = CaptureStore(settings.capture_bytes, settings.spill_folder)
    return Service(settings, Models(), store, worker, Sessions(settings.breakpoint_patience))
