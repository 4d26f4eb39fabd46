"""OpenAI's responses: chats whose conversation the server keeps."""

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.contract.schemas.base import Count, Index, Request, Response, Text
from engine.contract.schemas.openai import UNUSED, TextFormat


class InputText(Request):
    type: Literal["input_text", "output_text", "text"]
    text: str


class InputMessage(Request):
    type: Literal["message"] = "message"
    role: Literal["system", "user", "assistant", "developer"]
    content: str | Annotated[list[InputText], Field(min_length=1)]


class TextOptions(Request):
    format: TextFormat = Field(
        default_factory=lambda: TextFormat(type="text"), description="Text alone is supported."
    )


class ResponseRequest(Request):
    input: Text | Annotated[list[InputMessage], Field(min_length=1)] = Field(
        description="What the user says, or messages."
    )
    model: str | None = None
    instructions: str | None = Field(
        None, description="The system's message, in place of an earlier one."
    )
    previous_response_id: str | None = Field(
        None, description="The reply to continue: its conversation comes first."
    )
    store: bool = Field(True, description="Whether a later request may continue this one.")
    stream: bool = False
    max_output_tokens: Count | None = Field(
        None, description="Default: until the end of the text or of the context."
    )
    temperature: float = Field(0.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    text: TextOptions | None = None
    tools: list[Any] = Field(default_factory=list, max_length=0, description="None is supported.")
    tool_choice: Literal["none", "auto"] = "auto"
    parallel_tool_calls: bool = Field(True, description=UNUSED)
    truncation: Literal["disabled"] = Field("disabled", description="Nothing is left out.")
    metadata: dict[str, str] | None = Field(None, max_length=16)
    user: str | None = Field(None, description=UNUSED)


class OutputText(Response):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = Field(default_factory=list, max_length=0)


class OutputMessage(Response):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class InputDetails(Response):
    cached_tokens: Index


class OutputDetails(Response):
    reasoning_tokens: Index


class ResponseUsage(Response):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class IncompleteDetails(Response):
    reason: Literal["max_output_tokens"]


class ModelResponse(Response):
    id: str
    object: Literal["response"] = "response"
    created_at: int
    model: str
    status: Literal["in_progress", "completed", "incomplete"]
    incomplete_details: IncompleteDetails | None = Field(
        None, description="Why the reply ends early: `max_output_tokens`."
    )
    error: None = None
    instructions: str | None
    previous_response_id: str | None
    max_output_tokens: int | None
    temperature: float
    top_p: float
    parallel_tool_calls: bool = True
    tool_choice: Literal["none", "auto"] = "auto"
    tools: list[Any] = Field(default_factory=list, max_length=0)
    metadata: dict[str, str]
    store: bool
    output: list[OutputMessage]
    usage: ResponseUsage | None = None
