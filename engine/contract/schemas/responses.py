"""OpenAI's responses: chats whose conversation the server keeps."""

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.contract.schemas.base import (
    MOST_MESSAGES,
    Count,
    Index,
    Request,
    Response,
    Text,
    Warned,
)
from engine.contract.schemas.openai import UNUSED
from engine.contract.schemas.steering import Steered
from engine.contract.schemas.structured import (
    JSON_SCHEMA,
    FormatName,
    JsonObjectFormat,
    TextFormat,
)
from engine.contract.schemas.tools import (
    MOST_TOOLS,
    PARALLEL,
    PARAMETERS,
    STRICT,
    TOOL_CHOICE,
    CallId,
    FunctionName,
    ToolMode,
)

ITEM_ID = "As a reply gave it; not used."


class InputText(Request):
    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: list[Any] = Field(default_factory=list, max_length=0)
    logprobs: list[Any] = Field(default_factory=list, max_length=0)


class InputMessage(Request):
    type: Literal["message"] = "message"
    role: Literal["system", "user", "assistant", "developer"]
    content: str | Annotated[list[InputText], Field(min_length=1)]
    id: str | None = Field(None, description=ITEM_ID)
    status: str | None = Field(None, description=ITEM_ID)


class InputCall(Request):
    """What the model called before."""

    type: Literal["function_call"]
    call_id: CallId
    name: FunctionName
    arguments: str = Field(description="An object as JSON.")
    id: str | None = Field(None, description=ITEM_ID)
    status: str | None = Field(None, description=ITEM_ID)


class InputCallOutput(Request):
    """The result of a call."""

    type: Literal["function_call_output"]
    call_id: CallId
    output: str | Annotated[list[InputText], Field(min_length=1)]
    id: str | None = Field(None, description=ITEM_ID)
    status: str | None = Field(None, description=ITEM_ID)


class ReasoningText(Request):
    type: Literal["reasoning_text"]
    text: str


class InputReasoning(Request):
    """What the model thought before: it goes before the message or the call that it led to."""

    type: Literal["reasoning"]
    content: list[ReasoningText] = Field(default_factory=list)
    summary: list[Any] = Field(default_factory=list, max_length=0)
    encrypted_content: None = Field(None, description="Not supported.")
    id: str | None = Field(None, description=ITEM_ID)
    status: str | None = Field(None, description=ITEM_ID)


InputItem = InputMessage | InputCall | InputCallOutput | InputReasoning


class SchemaFormat(Request):
    """JSON that a schema allows."""

    type: Literal["json_schema"]
    name: FormatName
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema", description=JSON_SCHEMA)
    strict: bool = Field(True, description="The text is held to the schema either way.")


class TextOptions(Request):
    format: TextFormat | JsonObjectFormat | SchemaFormat = Field(
        default_factory=lambda: TextFormat(type="text"),
        description="Text, any JSON object, or JSON that a schema allows.",
    )
    verbosity: Literal["medium"] = Field("medium", description="Only the default is supported.")


class FunctionTool(Request):
    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description=PARAMETERS)
    strict: bool = Field(False, description=STRICT)


class FunctionChoice(Request):
    """A call of this function."""

    type: Literal["function"]
    name: FunctionName


class ResponseRequest(Request):
    input: Text | Annotated[list[InputItem], Field(min_length=1, max_length=MOST_MESSAGES)] = Field(
        description="What the user says; or messages, calls and their results."
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
    tools: list[FunctionTool] = Field(
        default_factory=list,
        max_length=MOST_TOOLS,
        description="Functions that the model may ask for. Its chat template must know tools.",
    )
    tool_choice: ToolMode | FunctionChoice = Field("auto", description=TOOL_CHOICE)
    parallel_tool_calls: bool = Field(True, description=PARALLEL)
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


class OutputCall(Response):
    """A call that the model asks for."""

    id: str
    type: Literal["function_call"] = "function_call"
    status: Literal["in_progress", "completed", "incomplete"]
    call_id: str
    name: str
    arguments: str = Field(description="An object as JSON.")


class OutputReasoningText(Response):
    type: Literal["reasoning_text"] = "reasoning_text"
    text: str


class OutputReasoning(Response):
    """What the model thought before it answered."""

    id: str
    type: Literal["reasoning"] = "reasoning"
    status: Literal["in_progress", "completed", "incomplete"]
    summary: list[Any] = Field(default_factory=list, max_length=0)
    content: list[OutputReasoningText]


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


class ModelResponse(Steered, Warned):
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
    parallel_tool_calls: bool
    tool_choice: ToolMode | FunctionChoice
    tools: list[FunctionTool]
    metadata: dict[str, str]
    store: bool
    output: list[OutputReasoning | OutputMessage | OutputCall]
    usage: ResponseUsage | None = None
