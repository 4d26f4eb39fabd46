"""The downloads that clients began, each on a thread of its own."""

import logging
import shutil
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock, Thread
from typing import Literal
from uuid import uuid4

from engine.errors import EngineError
from engine.models.downloading import Download
from engine.server.errors import LimitError, UnknownJobError

MOST_AT_ONCE = 4
MOST_KEPT = 1000
"""Downloads that are remembered; the oldest that are over are forgotten."""
log = logging.getLogger(__name__)

Status = Literal["downloading", "completed", "failed"]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class DownloadJob:
    """A download under way, or how it ended: `error` is why it failed."""

    download: Download
    job_id: str = field(default_factory=lambda: f"download-{uuid4().hex}")
    started: datetime = field(default_factory=_now)
    ended: datetime | None = None
    status: Status = "downloading"
    error: str | None = None
    first_bytes: int = 0

    def __post_init__(self) -> None:
        self.first_bytes = self.download.here_bytes

    @property
    def bytes_per_second(self) -> float:
        """What came in a second so far, on average."""
        seconds = ((self.ended or _now()) - self.started).total_seconds()
        return (self.download.here_bytes - self.first_bytes) / max(seconds, 1e-6)

    def run(self) -> None:
        """Fetch the model; what fails is told to whoever asks for the status."""
        log.info("downloading %r", self.download.name)
        try:
            self.download.run()
        except Exception as error:
            log.error("the download of %r failed", self.download.name, exc_info=error)
            reason = str(error) if isinstance(error, EngineError) else "the log has the reason"
            self._end("failed", f"{self.download.name} could not be downloaded: {reason}")
        else:
            self._end("completed")

    def _end(self, status: Status, error: str | None = None) -> None:
        self.ended, self.error = _now(), error
        self.status = status


class Downloads:
    """Downloads by id; a model that is being downloaded is not downloaded twice."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, DownloadJob] = OrderedDict()
        self._lock = Lock()

    def start(self, download: Download) -> DownloadJob:
        """Begin one, or return the one of the same model that is under way. Raises LimitError."""
        with self._lock:
            running = [job for job in self._jobs.values() if job.status == "downloading"]
            for job in running:
                if job.download.name == download.name:
                    return job
            if len(running) >= MOST_AT_ONCE:
                raise LimitError(f"{len(running)} downloads are under way, as many as may be.")
            _check_room(download)
            job = DownloadJob(download)
            self._jobs[job.job_id] = job
            self._forget()
        Thread(target=job.run, name=job.job_id, daemon=True).start()
        return job

    def get(self, job_id: str) -> DownloadJob:
        """The download of this id. Raises UnknownJobError."""
        with self._lock:
            if job_id in self._jobs:
                return self._jobs[job_id]
        raise UnknownJobError(f"There is no download {job_id!r}.", "job_id")

    def _forget(self) -> None:
        over = [name for name, job in self._jobs.items() if job.ended]
        for name in over[: max(0, len(self._jobs) - MOST_KEPT)]:
            del self._jobs[name]


def _check_room(download: Download) -> None:
    """Raise LimitError for a download that the disk has no room for."""
    existing = next(each for each in (download.folder, *download.folder.parents) if each.is_dir())
    free = shutil.disk_usage(existing).free
    missing = (download.total_bytes or 0) - download.here_bytes
    if missing > free:
        raise LimitError(f"{download.name} needs {missing} bytes more; the disk has {free} free.")
