"""What the operations work with."""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx

from engine.captures.host_memory import host_memory
from engine.runs.kit import NOT_SPREAD, Spread
from engine.runs.prefixes import PrefixCache
from engine.server.jobs.agreement import ALONE, Agreement
from engine.server.jobs.generation_thread import GenerationThread
from engine.server.jobs.sessions import Sessions
from engine.server.metrics import Gauges, Metrics
from engine.server.state.captures import CaptureStore
from engine.server.state.conversations import Conversations
from engine.server.state.debug_sessions import DebugSessions
from engine.server.state.downloads import Downloads
from engine.server.state.models import Models
from engine.server.state.settings import Settings
from engine.server.state.steering import SteeringStore


@dataclass(frozen=True)
class Service:
    """One server's parts; every operation is a function of these and its request."""

    settings: Settings
    models: Models
    captures: CaptureStore
    worker: GenerationThread
    sessions: Sessions
    debug_sessions: DebugSessions
    conversations: Conversations
    downloads: Downloads
    metrics: Metrics
    prefixes: PrefixCache
    steering: SteeringStore


def create_service(
    settings: Settings,
    on_death: Callable[[], None],
    *,
    agreement: Agreement = ALONE,
    spread: Callable[[], Spread] = lambda: NOT_SPREAD,
) -> Service:
    """The parts of a server, its generation thread started.

    Models are `spread` over ranks, which do the same by an `agreement`.
    """
    worker = GenerationThread(
        queue_size=settings.queue_size,
        stuck_after=settings.stuck_after,
        patience=settings.client_patience,
        on_death=on_death,
        on_turn=lambda turn: metrics.turned(turn),
        agreement=agreement,
    )
    if settings.memory_bytes is not None:
        mx.set_memory_limit(settings.memory_bytes)
    if pool := host_memory():
        pool.budget_bytes = settings.capture_bytes
    store = CaptureStore(settings.capture_bytes, settings.spill_folder, settings.spill_bytes)
    models = Models(settings.max_models, settings.context_tokens, spread)
    sessions = Sessions(settings.breakpoint_patience)
    debugging = DebugSessions(settings.capture_bytes, settings.debugger_patience)
    prefixes = PrefixCache(settings.prefix_bytes)
    metrics = Metrics(_gauges(worker, models, store, debugging, prefixes))
    worker.start()
    return Service(
        settings=settings,
        models=models,
        captures=store,
        worker=worker,
        sessions=sessions,
        debug_sessions=debugging,
        conversations=Conversations(),
        downloads=Downloads(),
        metrics=metrics,
        prefixes=prefixes,
        steering=SteeringStore(settings.capture_bytes),
    )


def _gauges(
    worker: GenerationThread,
    models: Models,
    store: CaptureStore,
    debugging: DebugSessions,
    prefixes: PrefixCache,
) -> Gauges:
    pool = host_memory()
    return {
        "queue_depth": (
            "Requests that wait for the generation thread.",
            lambda: worker.queue_depth,
        ),
        "jobs_under_way": (
            "Jobs that have begun and are not over.",
            lambda: worker.jobs_under_way,
        ),
        "batch_rows": (
            "Generations that shared the latest pass, where passes are under way.",
            lambda: worker.batch_rows,
        ),
        "ready": ("1 if the generation thread is ready.", lambda: worker.ready),
        "models_loaded": ("Models in memory.", lambda: len(models.all())),
        "mlx_memory_bytes": ("Bytes of arrays that MLX keeps.", mx.get_active_memory),
        "capture_bytes": ("Bytes of captures kept in memory.", lambda: store.nbytes),
        "spilled_bytes": ("Bytes of captures kept in files.", lambda: store.spilled_bytes),
        "prefix_bytes": (
            "Bytes of earlier prompts' keys and values kept for others that begin alike.",
            lambda: prefixes.nbytes,
        ),
        "debug_session_bytes": (
            "Bytes kept for debug sessions.",
            lambda: debugging.nbytes,
        ),
        "host_pool_bytes": (
            "Bytes of page-locked memory for captures.",
            lambda: pool.locked_bytes if pool else 0,
        ),
    }
