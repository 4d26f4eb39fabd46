"""The requests of LM Studio's version 1, as its documentation has them."""

from typing import Annotated, Literal

from pydantic import Field

from engine.contract.schemas.base import Count, Index, Request, Text


class InputItem(Request):
    type: Literal["text", "message"]
    content: str


class ChatRequest(Request):
    model: str
    input: Text | Annotated[list[InputItem], Field(min_length=1)]
    system_prompt: str | None = None
    integrations: Annotated[list[object], Field(max_length=0)] | None = None
    stream: bool = False
    temperature: float = Field(0.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: Index = 0
    min_p: float = Field(0.0, ge=0, le=1)
    repeat_penalty: float | None = Field(None, ge=0.01, le=100)
    max_output_tokens: Count | None = None
    reasoning: Literal["off", "on"] | None = None
    context_length: Count | None = None
    store: bool = True
    previous_response_id: str | None = None


class LoadRequest(Request):
    model: Text
    context_length: Count | None = None
    flash_attention: Literal[True] | None = None
    offload_kv_cache_to_gpu: Literal[True] | None = None
    echo_load_config: bool = False


class UnloadRequest(Request):
    instance_id: Text
