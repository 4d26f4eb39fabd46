"""Completions, as OpenAI has them, with and without a look inside."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from engine.contract.schemas.activations import Activations, HookSpec, InterventionSpec
from engine.contract.schemas.base import (
    MOST_HOOKS,
    MOST_MESSAGES,
    MOST_STOPS,
    ActivationFormat,
    Alternatives,
    Batch,
    Biases,
    ChoiceCount,
    DraftCount,
    Index,
    No,
    One,
    Penalty,
    PositiveLimit,
    Request,
    Response,
    Seed,
    StopString,
    Text,
    Texts,
    TokenIds,
    TokenLimit,
    Warned,
)
from engine.contract.schemas.openai import UNUSED, NoTools, OpenAIFields
from engine.contract.schemas.steering import Steered
from engine.contract.schemas.structured import Structured
from engine.contract.schemas.tokens import SPECIAL_TOKENS, ChatMessage, Templated
from engine.contract.schemas.tools import ToolCall, WithTools


def _zero_needs(name: str) -> dict[str, Any]:
    """JSON schema: `max_tokens` is 0 only where the boolean field `name` is true."""
    off = {"enum": [False, None]}
    zero = {"properties": {"max_tokens": {"const": 0}, name: off}, "required": ["max_tokens"]}
    return {"not": zero}


UNTIL_THE_END = (
    "The most tokens to generate. Default, and -1: until the end of the text, of the model's "
    "context (2048 tokens with the prompt, where the model's configuration names none), or of what "
    "this server allows."
)


class StreamOptions(Request):
    include_usage: bool = Field(False, description="End the stream with an event of token counts.")
    include_obfuscation: No = False


class Sampling(Request):
    """Parameters that every generation takes."""

    model: str | None = None
    max_tokens: TokenLimit | None = Field(None, description=UNTIL_THE_END)
    temperature: float = Field(0.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: Index = Field(0, description="0: all.")
    min_p: float = Field(0.0, ge=0, le=1)
    seed: Seed | None = Field(
        None,
        description="The same seed draws the same text, whatever runs before or beside it. "
        "Any integer of 64 bits. Default: each request draws differently.",
    )
    stop: StopString | Annotated[list[StopString], Field(max_length=MOST_STOPS)] | None = None
    presence_penalty: Penalty = Field(
        0.0, description="Taken from the logit of each token that has been generated."
    )
    frequency_penalty: Penalty = Field(
        0.0, description="Taken from a token's logit for each time that it has been generated."
    )
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    logit_bias: Biases | None = Field(None, description="Token id to what is added to its logit.")
    stream: bool = False
    stream_options: StreamOptions | None = None
    draft_model: str | None = Field(
        None,
        description="A smaller loaded model with the same vocabulary, which proposes tokens that "
        "the model checks several at once. At temperature 0 the text is that without it.",
    )
    num_draft_tokens: DraftCount = Field(3, description="How many it proposes at once.")
    n: ChoiceCount = Field(1, description="How many choices to generate for each prompt.")
    best_of: ChoiceCount | None = Field(None, description="Only as many as `n` are supported.")
    user: str | None = Field(None, description=UNUSED)


class CompletionRequest(OpenAIFields, NoTools, Structured, Sampling):
    model_config = ConfigDict(json_schema_extra=_zero_needs("echo"))

    prompt: Text | TokenIds | Texts | Batch = Field(
        description="Text, or token ids; or a list of either, each with choices of its own."
    )
    add_special_tokens: bool = Field(True, description=SPECIAL_TOKENS)
    echo: bool = Field(False, description="Begin each choice with its prompt.")
    max_tokens: TokenLimit | None = Field(
        None, description=f"{UNTIL_THE_END} 0 goes with `echo`: the prompt and its `logprobs`."
    )
    logprobs: Alternatives | None = Field(
        None,
        description="How many alternatives to report a token; the token itself is always there.",
    )

    @model_validator(mode="after")
    def _zero_needs_echo(self) -> "CompletionRequest":
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens: 0 needs echo to be true")
        return self


class ChatCompletionRequest(OpenAIFields, WithTools, Structured, Templated, Sampling):
    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "properties": {
                    "top_logprobs": {"not": {"type": "null"}},
                    "logprobs": {"enum": [False, None]},
                },
                "required": ["top_logprobs"],
            }
        }
    )

    messages: list[ChatMessage] = Field(min_length=1, max_length=MOST_MESSAGES)
    add_special_tokens: bool = Field(
        False,
        description="Whether the rendered messages get the special tokens that the tokenizer puts "
        "before and after a text, unless they are there already. Templates write their own.",
    )
    max_tokens: PositiveLimit | None = Field(None, description=UNTIL_THE_END)
    max_completion_tokens: PositiveLimit | None = Field(
        None,
        description="OpenAI's newer name for `max_tokens`, over which it wins.",
    )
    logprobs: bool = False
    top_logprobs: Alternatives | None = None
    echo: No = False

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


CAPTURED_TOKENS = 100
OF_CAPTURED = (
    "The most tokens to generate, of each of which the activations are kept. -1: until the end of "
    "the text, of the model's context, or of what this server allows."
)


class CompletionWithActivationsRequest(CompletionRequest, Capturing):
    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    max_tokens: TokenLimit | None = Field(
        CAPTURED_TOKENS,
        description=f"{OF_CAPTURED} 0 goes with `echo`: the prompt and its `logprobs`.",
    )
    n: One = Field(1, description="A capture is of one sequence.")


class ChatCompletionWithActivationsRequest(ChatCompletionRequest, Capturing):
    max_tokens: PositiveLimit | None = Field(CAPTURED_TOKENS, description=OF_CAPTURED)
    n: One = Field(1, description="A capture is of one sequence.")


class PromptTokensDetails(Response):
    cached_tokens: int = Field(
        description="Those at the beginning, of which the keys and values of an earlier prompt "
        "that began alike were used. Positions that a hook or an intervention names are never "
        "among them; of several choices, what none of them had to read."
    )


class CompletionDetails(Response):
    reasoning_tokens: int = Field(
        description="Of all choices: the model's thinking, with the markers around it."
    )


class Usage(Response):
    prompt_tokens: int = Field(description="Each prompt counts once, however many its choices.")
    completion_tokens: int = Field(description="Of all choices.")
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionDetails


class GenerationStats(Response):
    """How fast a reply was generated, all its choices together, as LM Studio tells it."""

    tokens_per_second: float = Field(
        description="From the first token on; of one token, the reciprocal of the wait for it; of "
        "none, 0."
    )
    time_to_first_token: float = Field(description="Seconds from the request's check.")
    generation_time: float = Field(description="Seconds from the first token to the last.")
    stop_reason: Literal["eosFound", "stopStringFound", "maxPredictedTokensReached"]
    draft_model: str | None = Field(None, description="Where one proposed tokens.")
    total_draft_tokens_count: int | None = Field(None, description="What it proposed.")
    accepted_draft_tokens_count: int | None = Field(None, description="What became text of it.")
    rejected_draft_tokens_count: int | None = Field(
        None, description="What the model replaced, and what came after that."
    )
    ignored_draft_tokens_count: int | None = Field(
        None, description="What came after the end of the text."
    )


class CompletionLogprobs(Response):
    """Of the tokens whose text, or some of it, is in the choice's text."""

    tokens: list[str] = Field(
        description="Each token's exact text. Of several tokens that read alike, all but one are "
        "`token_id:` and the id, as in `top_logprobs`."
    )
    token_logprobs: list[float | None] = Field(
        description="Natural logarithms; null for the first token of all, which nothing predicts."
    )
    top_logprobs: list[dict[str, float] | None] | None = Field(
        None, description="The likeliest tokens in each one's place, and the token itself."
    )
    text_offset: list[int] = Field(
        description="Where each token begins in the choice's text, in characters."
    )


KEPT_OF_CHOICE = (
    "Where there are several choices: under which what the registered hooks captured is kept."
)


class CompletionChoice(Response):
    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: CompletionLogprobs | None = None
    capture_id: str | None = Field(None, description=KEPT_OF_CHOICE)


class Completion(Steered, Warned):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    stats: GenerationStats
    capture_id: str | None = Field(
        None,
        description="Where there is one choice: under which what the registered hooks captured is "
        "kept.",
    )


class TopLogprob(Response):
    token: str = Field(description="The token's exact text.")
    logprob: float
    bytes: list[int] = Field(description="The token's bytes, which may be part of a character.")


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Response):
    content: list[TokenLogprob]


class AssistantMessage(Response):
    role: Literal["assistant"] = "assistant"
    content: str | None = Field(description="Null if it calls tools and says nothing.")
    reasoning_content: str | None = Field(
        None, description="What the model thought before it answered, between its markers."
    )
    tool_calls: list[ToolCall] | None = None


class ChatChoice(Response):
    index: int
    message: AssistantMessage
    finish_reason: Literal["stop", "length", "tool_calls"] | None
    logprobs: ChatLogprobs | None = None
    capture_id: str | None = Field(None, description=KEPT_OF_CHOICE)


class ChatCompletion(Steered, Warned):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    stats: GenerationStats
    capture_id: str | None = Field(
        None,
        description="Where there is one choice: under which what the registered hooks captured is "
        "kept.",
    )


class Captured(Response):
    capture_id: str
    activations: Activations


class CompletionWithActivations(Captured, Completion):
    pass


class ChatCompletionWithActivations(Captured, ChatCompletion):
    pass
