"""Version 1's downloads of models, and how far they are."""

from datetime import datetime, timedelta
from typing import Any

from engine.models.downloading import download_of
from engine.server.errors import ForbiddenError, ImpossibleError
from engine.server.lm_studio.schemas import DownloadRequest
from engine.server.service import Service
from engine.server.state.downloads import DownloadJob
from engine.server.state.library import find


def begin(service: Service, request: DownloadRequest) -> dict[str, Any]:
    """Begin to download a model that is not here. Raises ForbiddenError where the server does not
    allow hub ids, ImpossibleError, ModelNotFoundError, UnsupportedModelError, LimitError."""
    if find(service.settings, request.model):
        return {"status": "already_downloaded"}
    if not service.settings.allow_hub:
        raise ForbiddenError(
            f"model: {request.model!r} is not on this machine, and this server does not allow "
            "clients to download models; start it with --allow-hub.",
            "model",
        )
    if request.quantization is not None:
        raise ImpossibleError(
            "quantization: the hub has a repository for each quantisation of an MLX model, such "
            "as owner/name-4bit; give its id as model.",
            "quantization",
        )
    download = download_of(request.model)
    if find(service.settings, download.name) and download.here_bytes == download.total_bytes:
        return {"status": "already_downloaded"}
    return _told(service.downloads.start(download))


def status(service: Service, job_id: str) -> dict[str, Any]:
    """How far a download is. Raises UnknownJobError."""
    return progress(service.downloads.get(job_id))


def progress(job: DownloadJob) -> dict[str, Any]:
    """What is known of a download; an estimate only once something has come."""
    reply = _told(job) | {"downloaded_bytes": job.download.here_bytes}
    total, rate = job.download.total_bytes, job.bytes_per_second
    if job.status == "downloading":
        reply["bytes_per_second"] = rate
        if total is not None and rate > 0:
            seconds = (total - job.download.here_bytes) / rate
            reply["estimated_completion"] = _iso(datetime.now(job.started.tzinfo), seconds)
    return reply


def _told(job: DownloadJob) -> dict[str, Any]:
    fields = {
        "job_id": job.job_id,
        "status": job.status,
        "total_size_bytes": job.download.total_bytes,
        "started_at": _iso(job.started),
        "completed_at": _iso(job.ended) if job.ended and job.status == "completed" else None,
        "error": job.error,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _iso(moment: datetime, later: float = 0) -> str:
    return (moment + timedelta(seconds=later)).isoformat(timespec="milliseconds")
