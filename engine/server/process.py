"""A server from start to end: bound, its model loaded, serving, shut down in good order."""

import logging
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

from engine.contract.schemas import LoadModelRequest
from engine.runs.kit import NOT_SPREAD, Spread
from engine.server.http.app import create_app
from engine.server.http.guard import is_loopback
from engine.server.http.listener import Listener
from engine.server.jobs.agreement import ALONE, Agreement
from engine.server.ranks.leading import Wsgi
from engine.server.service import Service, create_service
from engine.server.state.models import LoadedModel
from engine.server.state.settings import Settings

log = logging.getLogger(__name__)
SPARE_FILES = 512
"""Files open beside the connections: weights, libraries, processes of templates."""
DIED = 70
"""Exit status when the generation thread died (EX_SOFTWARE)."""


class UnprotectedError(Exception):
    """Asked to listen beyond this machine without a token."""


def run(
    settings: Settings,
    request: LoadModelRequest | None,
    announce: Callable[[str, str], None],
    *,
    agreement: Agreement = ALONE,
    spread: Callable[[], Spread] = lambda: NOT_SPREAD,
    served: Callable[[Service, Wsgi], Wsgi] = lambda service, app: app,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    The port is bound first, then the model loads, then `announce` is called with the address and
    a line about the model, and requests are served: what is made of the application by `served`.
    `agreement` and `spread` are as in `create_service`. Raises UnprotectedError, OSError if the
    port is taken, and what loading raises.
    """
    if settings.token is None and not is_loopback(settings.host):
        raise UnprotectedError(
            f"Listening on {settings.host} lets strangers in: set a token in NEUROSCOPE_TOKEN."
        )
    died = False

    def on_death() -> None:
        nonlocal died
        died = True
        os.kill(os.getpid(), signal.SIGTERM)

    service = create_service(settings, on_death, agreement=agreement, spread=spread)
    settings = replace(settings, connections=_connections(settings.connections))
    listener = Listener(served(service, create_app(service)), settings)
    _leave_on_signals(service)
    try:
        description = "no model loaded yet"
        if request:
            model = service.worker.call(lambda job: service.models.load(request))
            description = _description(model)
        announce(listener.url, description)
        listener.run()
    except SystemExit:
        log.info("interrupted while loading")
    finally:
        listener.close()
        if not service.worker.stop(settings.shutdown_grace):
            log.warning("the generation thread is still busy; leaving it behind")
    return DIED if died else 0


def _connections(wanted: int) -> int:
    """How many connections the system lets this process have, of those wanted.

    The limit of open files is raised as far as it may be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            log.warning("only %d connections: the system allows %d open files", soft // 2, soft)
            return max(1, min(wanted, soft // 2))
    return wanted


def _leave_on_signals(service: Service) -> None:
    """On SIGTERM and SIGINT fail all jobs, so that every client gets a reply, and leave."""

    def leave(signum: int, frame: FrameType | None) -> None:
        service.worker.stop(grace=0)
        raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def _description(model: LoadedModel) -> str:
    entry = model.entry
    return (
        f"{entry.id}: {entry.architecture}, {entry.layers} layers, {entry.heads} heads, "
        f"hidden size {entry.hidden_size}, {len(entry.components)} components to capture"
    )
