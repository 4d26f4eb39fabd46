"""Text to tokens and back."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from engine.contract.schemas.base import (
    MOST_MESSAGES,
    Request,
    Response,
    TokenId,
    one_of,
    require_one,
)


class ChatMessage(Request):
    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: str


class TokenizeRequest(Request):
    model_config = ConfigDict(json_schema_extra=one_of("text", "messages"))

    text: str | None = None
    messages: list[ChatMessage] | None = Field(
        None,
        min_length=1,
        max_length=MOST_MESSAGES,
        description="Rendered by the chat template.",
    )
    model: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "TokenizeRequest":
        require_one(self, "text", "messages")
        return self


class TokenizeResponse(Response):
    tokens: list[int]
    texts: list[str] = Field(description="The text of each token.")


class DetokenizeRequest(Request):
    tokens: Annotated[list[TokenId], Field(fail_fast=True)]
    model: str | None = None


class DetokenizeResponse(Response):
    text: str
