"""OpenAI's fields that only some values of are supported: those that ask for nothing."""

from typing import Annotated, Any, Literal

from pydantic import Field

from engine.contract.schemas.base import No, Request, at_most

MOST_METADATA = 16
UNUSED = "Accepted from OpenAI's clients; not used."


class NoTools(Request):
    """OpenAI's fields of tools where there can be none."""

    parallel_tool_calls: bool = Field(True, description=UNUSED)
    tools: list[Any] = Field(
        default_factory=list, max_length=0, description="Tools go with chat messages."
    )
    tool_choice: Literal["none", "auto"] = "auto"


class OpenAIFields(Request):
    """What OpenAI's clients may send. A value that would change the text is refused."""

    safety_identifier: str | None = Field(None, description=UNUSED)
    prompt_cache_key: str | None = Field(None, description=UNUSED)
    prompt_cache_retention: str | None = Field(None, description=UNUSED)
    metadata: Annotated[dict[str, str], Field(max_length=MOST_METADATA), at_most(MOST_METADATA)] = (
        Field(default_factory=dict, description=UNUSED)
    )
    service_tier: Literal["auto", "default"] = Field("auto", description=UNUSED)
    store: No = Field(False, description="Nothing is stored.")
    functions: list[Any] = Field(
        default_factory=list, max_length=0, description="None is supported."
    )
    function_call: Literal["none", "auto"] = "auto"
    modalities: list[Literal["text"]] = Field(
        default_factory=list, max_length=1, description="Text alone is supported."
    )
    audio: None = Field(None, description="Not supported.")
    prediction: None = Field(None, description="Not supported.")
    web_search_options: None = Field(None, description="Not supported.")
    reasoning_effort: None = Field(None, description="Not supported.")
    verbosity: Literal["medium"] = Field("medium", description="Only the default is supported.")
    suffix: Literal[""] = Field("", description="Text after the completion is not supported.")
