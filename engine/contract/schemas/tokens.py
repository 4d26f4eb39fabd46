"""Text to tokens and back."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from engine.contract.schemas.base import (
    LONGEST_NAME,
    MOST_MESSAGES,
    MOST_SEQUENCES,
    Request,
    Response,
    TokenId,
    one_of,
    require_one,
)
from engine.contract.schemas.tools import MOST_CALLS, CalledTool, CallId

SPECIAL_TOKENS = (
    "Whether a text gets the special tokens that the tokenizer puts before and after one, unless "
    "they are there already. Token ids are taken as they are."
)

EXACT_TEXTS = (
    "The exact text of each token, a leading space included. Bytes that are no whole character are "
    "`<0xF0><0x9F>`; an id without a token is `token_id:49160`."
)


class TextPart(Request):
    type: Literal["text"]
    text: str


TextParts = Annotated[list[TextPart], Field(min_length=1, max_length=MOST_SEQUENCES)]


class ChatMessage(Request):
    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: str | TextParts | None = Field(
        None,
        description="Text, or parts of it, which are joined. Only a message with calls may have "
        "none.",
    )
    name: str | None = Field(
        None, max_length=LONGEST_NAME, description="Who speaks, for templates that tell it."
    )
    tool_calls: list[CalledTool] = Field(
        default_factory=list,
        max_length=MOST_CALLS,
        description="Of an assistant's message: what it called.",
    )
    tool_call_id: CallId | None = Field(
        None, description="Of a tool's message: the call that it is the result of."
    )
    reasoning_content: str | None = Field(
        None, description="Of an assistant's message: its thinking, for templates that tell it."
    )
    refusal: None = Field(None, description="Not supported.")
    annotations: list[Any] = Field(default_factory=list, max_length=0, description="None are used.")
    audio: None = Field(None, description="Not supported.")
    function_call: None = Field(None, description="Not supported; `tool_calls` are.")


class Templated(Request):
    """How the chat template renders messages."""

    add_generation_prompt: bool | None = Field(
        None,
        description="Whether the model's message is begun after the last one. Default: unless "
        "that is continued.",
    )
    continue_final_message: bool = Field(
        False, description="Leave the last message open, for the model to continue."
    )
    enable_thinking: bool | None = Field(
        None,
        description="Let the model think before it answers, or not, where its template can say so.",
    )
    chat_template_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Variables of the chat template, by name."
    )


class TokenizeRequest(Templated):
    model_config = ConfigDict(json_schema_extra=one_of("text", "messages"))

    text: str | None = None
    messages: list[ChatMessage] | None = Field(
        None,
        min_length=1,
        max_length=MOST_MESSAGES,
        description="Rendered by the chat template.",
    )
    add_special_tokens: bool | None = Field(
        None, description=f"{SPECIAL_TOKENS} Default: for a text; not for messages."
    )
    single: bool = Field(
        False,
        description="Whether the text is to be one token: the one that reads like it, or else like "
        "it behind a space. Where there is none, the error lists those that it is made of.",
    )
    model: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "TokenizeRequest":
        require_one(self, "text", "messages")
        return self


class TokenizeResponse(Response):
    tokens: list[int]
    texts: list[str] = Field(description=EXACT_TEXTS)


class DetokenizeRequest(Request):
    tokens: Annotated[list[TokenId], Field(fail_fast=True)]
    model: str | None = None


class DetokenizeResponse(Response):
    text: str = Field(description="Of several that the ids may be, the one that has these ids.")
    texts: list[str] = Field(description=EXACT_TEXTS)
