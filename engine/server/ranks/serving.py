"""A server over the ranks that `mlx.launch` started: from their first connection to its end."""

import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from threading import Thread, Timer
from typing import NoReturn

from engine.contract.schemas import LoadModelRequest
from engine.parallel.channel import Followed, Lead, connected
from engine.parallel.ranks import joined
from engine.parallel.tensor import TensorParallel
from engine.runs.kit import Spread
from engine.server.errors import RankEndedError
from engine.server.http.app import create_app
from engine.server.process import DIED, run
from engine.server.ranks.following import Following, FollowingAgreement
from engine.server.ranks.leading import LeadingAgreement, Repeated, Wsgi
from engine.server.service import Service, create_service
from engine.server.state.settings import Settings

log = logging.getLogger(__name__)
GRACE = 2.0
"""Seconds in which clients get their errors before a server ends whose rank has ended."""


def run_on_ranks(
    settings: Settings, request: LoadModelRequest | None, announce: Callable[[str, str], None]
) -> int:
    """Serve from the first rank, with models spread over all; returns the exit status.

    Ends as soon as one of the ranks does. Raises UnsupportedOperationError if there are no others,
    and what `run` raises.
    """
    ranks = joined()
    end = connected(ranks)
    settings = replace(settings, prefix_bytes=0)  # what is dropped of it depends on the memory left

    def spread() -> Spread:
        return TensorParallel(ranks)

    if isinstance(end, Lead):
        return _lead(end, settings, request, announce, spread)
    return _follow(end, replace(settings, spill_folder=None), request, spread)


def _lead(
    lead: Lead,
    settings: Settings,
    request: LoadModelRequest | None,
    announce: Callable[[str, str], None],
    spread: Callable[[], Spread],
) -> int:
    secret = secrets.token_hex()
    lead.tell("secret", secret)

    def repeated(service: Service, app: Wsgi) -> Wsgi:
        lead.watch(lambda rank: _ended(service, rank))
        return Repeated(app, lead, secret, service.worker.forget)

    return run(
        settings,
        request,
        announce,
        agreement=LeadingAgreement(lead),
        spread=spread,
        served=repeated,
    )


def _follow(
    followed: Followed,
    settings: Settings,
    request: LoadModelRequest | None,
    spread: Callable[[], Spread],
) -> int:
    agreement = FollowingAgreement()
    service = create_service(
        settings, lambda: _exit("its generation thread died"), agreement=agreement, spread=spread
    )
    _, secret = followed.hear()
    load = Thread(target=_load, args=(service, request), name="load", daemon=True)
    Following(followed, agreement).run(create_app(service), secret, service.worker.forget, load)
    return 0


def _load(service: Service, request: LoadModelRequest | None) -> None:
    if request is None:
        return
    try:
        service.worker.call(lambda job: service.models.load(request))
    except Exception as error:
        log.warning("this rank does not load %s: %s", request.model_path, error)


def _ended(service: Service, rank: int) -> None:
    """Fail what runs, and end: no rank can calculate without the others."""
    error = RankEndedError(
        f"Rank {rank} has ended, and with it this server: start all ranks again."
    )
    log.critical("rank %d has ended", rank)
    service.worker.fail(error)
    Timer(GRACE, os._exit, (DIED,)).start()


def _exit(reason: str) -> NoReturn:
    log.critical("this rank ends: %s", reason)
    os._exit(DIED)
