"""Completions, as OpenAI has them, with and without a look inside."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from engine.contract.schemas.activations import Activations, HookSpec, InterventionSpec
from engine.contract.schemas.base import (
    MOST_HOOKS,
    MOST_STOPS,
    ActivationFormat,
    Alternatives,
    Biases,
    Count,
    Index,
    Request,
    Response,
    Seed,
    StopString,
    Text,
    TokenIds,
    Warned,
)
from engine.contract.schemas.tokens import ChatMessage


class StreamOptions(Request):
    include_usage: bool = Field(False, description="End the stream with an event of token counts.")


class Sampling(Request):
    """Parameters that every generation takes."""

    model: str | None = None
    max_tokens: Count = 100
    temperature: float = Field(0.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: Index = Field(0, description="0: all.")
    min_p: float = Field(0.0, ge=0, le=1)
    seed: Seed | None = Field(
        None,
        description="The same seed draws the same text, whatever runs before or beside it. "
        "Any integer of 64 bits. Default: each request draws differently.",
    )
    stop: Text | Annotated[list[StopString], Field(max_length=MOST_STOPS)] | None = None
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    logit_bias: Biases | None = Field(None, description="Token id to what is added to its logit.")
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = Field(1, description="How many choices; always one.")
    user: str | None = Field(None, description="Taken for OpenAI's clients; not used.")


class CompletionRequest(Sampling):
    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    logprobs: Alternatives | None = Field(
        None, description="How many alternatives to report a token."
    )


class ChatCompletionRequest(Sampling):
    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "properties": {
                    "top_logprobs": {"not": {"type": "null"}},
                    "logprobs": {"const": False},
                },
                "required": ["top_logprobs"],
            }
        }
    )

    messages: list[ChatMessage] = Field(min_length=1)
    logprobs: bool = False
    top_logprobs: Alternatives | None = None
    max_completion_tokens: Count | None = Field(
        None,
        description="OpenAI's newer name for `max_tokens`, over which it wins.",
    )

    @model_validator(mode="after")
    def _top_of_logprobs(self) -> "ChatCompletionRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        return self


class Capturing(Request):
    """What a request adds to look and reach inside."""

    activation_hooks: list[HookSpec] = Field(default_factory=list, max_length=MOST_HOOKS)
    interventions: list[InterventionSpec] = Field(default_factory=list, max_length=MOST_HOOKS)
    activation_format: ActivationFormat = Field(
        "base64",
        description="array: nested lists; base64; metadata: no data; reference: a name in the "
        "capture's safetensors body.",
    )


class CompletionWithActivationsRequest(CompletionRequest, Capturing):
    pass


class ChatCompletionWithActivationsRequest(ChatCompletionRequest, Capturing):
    pass


class Usage(Response):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionLogprobs(Response):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None = None
    text_offset: list[int]


class CompletionChoice(Response):
    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: CompletionLogprobs | None = None


class Completion(Warned):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    capture_id: str | None = Field(
        None, description="Under which what the registered hooks captured is kept."
    )


class TopLogprob(Response):
    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Response):
    content: list[TokenLogprob]


class ChatChoice(Response):
    index: int
    message: ChatMessage
    finish_reason: Literal["stop", "length"] | None
    logprobs: ChatLogprobs | None = None


class ChatCompletion(Warned):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    capture_id: str | None = Field(
        None, description="Under which what the registered hooks captured is kept."
    )


class Captured(Response):
    capture_id: str
    activations: Activations


class CompletionWithActivations(Captured, Completion):
    pass


class ChatCompletionWithActivations(Captured, ChatCompletion):
    pass
