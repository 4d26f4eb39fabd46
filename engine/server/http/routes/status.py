"""How the server is: health, and metrics. These are answered on a thread of their own."""

from flask import Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from engine.contract import schemas as s
from engine.contract.openapi import API_VERSION
from engine.server.service import Service


def health(service: Service) -> s.Health:
    loaded = service.models.all()
    loading, ready = service.models.loading, service.worker.ready
    return s.Health(
        status="loading" if loading else "ok" if ready else "failed",
        version=service.settings.version,
        api_version=API_VERSION,
        model=loaded[-1].id if loaded else None,
        ready=ready and not loading,
        queue_depth=service.worker.queue_depth,
    )


def metrics(service: Service) -> Response:
    return Response(service.metrics.text(), content_type=CONTENT_TYPE_LATEST)
