"""What the generation thread works on: list, cancel."""

from dataclasses import asdict
from typing import Any

from engine.contract import schemas as s
from engine.server.errors import UnknownJobError
from engine.server.jobs.job import Job
from engine.server.service import Service


def list_jobs(service: Service) -> dict[str, Any]:
    return {"jobs": [_entry(job, begun) for job, begun in service.worker.jobs()]}


def cancel(service: Service, job_id: str) -> s.CancelledJob:
    jobs = {job.job_id: job for job, _ in service.worker.jobs()}
    if job_id not in jobs:
        known = ", ".join(jobs) or "none"
        raise UnknownJobError(
            f"There is no job {job_id!r} under way; there are: {known}.", "job_id"
        )
    jobs[job_id].cancel()
    return s.CancelledJob(job_id=job_id)


def _entry(job: Job, begun: bool) -> dict[str, Any]:
    progress = job.progress
    return {
        "job_id": job.job_id,
        "operation": job.client.operation,
        "request_id": job.client.request_id,
        "state": "running" if begun else "waiting",
        "created": job.created,
        "progress": progress and asdict(progress),
    }
