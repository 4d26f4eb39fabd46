"""What went wrong, and whether the server is ready."""

from typing import Literal

from pydantic import Field

from engine.contract.schemas.base import Response


class ErrorDetail(Response):
    message: str = Field(description="What was wrong, and what exists instead.")
    type: str = Field(description="The class of error, for example `unknown_layer`.")
    code: int = Field(description="The HTTP status.")
    param: str | None = Field(None, description="The field of the request that was wrong.")


class ErrorResponse(Response):
    error: ErrorDetail


class Health(Response):
    status: Literal["ok", "loading", "failed"]
    version: str
    api_version: str
    model: str | None = Field(description="The id of the loaded model, null if there is none.")
    ready: bool = Field(description="The generation thread is ready.")
    queue_depth: int = Field(description="Requests that wait for the generation thread.")
