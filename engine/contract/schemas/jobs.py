"""What the generation thread works on."""

from typing import Literal

from pydantic import Field

from engine.contract.schemas.base import Response


class JobProgress(Response):
    done: int
    total: int = Field(description="The most that there can be: a text may end earlier.")
    unit: Literal["prompt tokens", "tokens", "passes", "layers", "texts", "weights", "targets"]


class ProgressEvent(JobProgress):
    """What a stream tells of a job until its result is there."""

    type: Literal["progress"]
    job_id: str = Field(description="The job, which DELETE cancels by it.")


class JobEntry(Response):
    job_id: str
    operation: str = Field(description="The operation that was asked for; empty: the server's own.")
    request_id: str = Field(description="The id under which its request is logged.")
    state: Literal["waiting", "running"]
    created: float = Field(description="When it was asked for, in seconds since 1970.")
    progress: JobProgress | None = Field(description="Null until there is any to tell.")


class JobList(Response):
    jobs: list[JobEntry]


class CancelledJob(Response):
    job_id: str
