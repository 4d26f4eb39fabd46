"""Functions that a model may ask for, as OpenAI has them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.contract.schemas.base import Index, Request, Response

MOST_TOOLS = 128
MOST_CALLS = 128
LONGEST_ID = 200
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
CallId = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
PARAMETERS = "A JSON schema of its parameters, which are an object. Default: any."
STRICT = (
    "Whether a call has to be valid by the schema: what is not stays text. Calls that "
    "`tool_choice` asks for are valid either way."
)


class FunctionSpec(Request):
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description=PARAMETERS)
    strict: bool = Field(False, description=STRICT)


class ToolSpec(Request):
    type: Literal["function"]
    function: FunctionSpec


class FunctionReference(Request):
    name: FunctionName


class NamedTool(Request):
    """A call of this function."""

    type: Literal["function"]
    function: FunctionReference


ToolSpecs = Annotated[list[ToolSpec], Field(max_length=MOST_TOOLS)]
ToolMode = Literal["none", "auto", "required"]
TOOL_CHOICE = (
    "none: the model is not told of the tools. auto: it may call them, in the form of its own chat "
    "template. required, or one function: its message is a call, or several, held to the "
    "parameters by a grammar."
)
PARALLEL = "Whether there may be several calls in one message."


class WithTools(Request):
    tools: ToolSpecs = Field(
        default_factory=list,
        description="Functions that the model may ask for. Its chat template must know tools.",
    )
    tool_choice: ToolMode | NamedTool = Field("auto", description=TOOL_CHOICE)
    parallel_tool_calls: bool = Field(True, description=PARALLEL)


class CalledFunction(Request):
    name: FunctionName
    arguments: str = Field(description="An object as JSON.")


class CalledTool(Request):
    """A call in a message of the history."""

    id: CallId
    type: Literal["function"] = "function"
    function: CalledFunction
    index: Index | None = Field(None, description="As a stream counts it; not used.")


class FunctionCall(Response):
    name: str
    arguments: str = Field(description="An object as JSON.")


class ToolCall(Response):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall
