"""Every request and response of the endpoint, declared once.

Requests forbid unknown fields: a misspelt parameter is an error that names it, never ignored.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.components import ComponentType

Dtype = Literal["float32", "float16", "bfloat16"]
ActivationFormat = Literal["array", "base64", "metadata", "reference"]
TokenIds = list[Annotated[int, Field(ge=0)]]


class Request(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Response(BaseModel):
    """Base of all response bodies."""

    model_config = ConfigDict(extra="forbid")


# --- errors and health -----------------------------------------------------------------------


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
    ready: bool = Field(description="The generation thread answers.")
    queue_depth: int = Field(description="Requests that wait for the generation thread.")


# --- models ----------------------------------------------------------------------------------


class ModelEntry(Response):
    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix time, in seconds, at which the model was loaded.")
    owned_by: str
    loaded: bool
    architecture: str | None = Field(description="mlx-lm's `model_type`.")
    layers: int | None
    heads: int | None = Field(description="Attention heads a layer.")
    kv_heads: int | None = Field(description="Key and value heads a layer.")
    head_dim: int | None
    hidden_size: int | None
    vocab_size: int | None
    quantization: str | None = Field(description="For example `4-bit, group 32`; null if none.")
    components: list[ComponentType] = Field(description="What can be captured on this model.")


class ModelList(Response):
    object: Literal["list"] = "list"
    data: list[ModelEntry]


class LoadModelRequest(Request):
    model_path: str = Field(min_length=1, description="A model folder, or a hub id where allowed.")
    model_id: str | None = Field(
        None, description="The name to give it; default: the last part of the path."
    )
    max_kv_size: int | None = Field(None, ge=8, description="Tokens kept in a rotating cache.")
    kv_bits: Literal[2, 3, 4, 6, 8] | None = Field(None, description="Quantise the cache.")
    kv_group_size: Literal[32, 64, 128] = Field(64)
    quantized_kv_start: int = Field(0, ge=0, description="Tokens before the cache is quantised.")
    dtype: Dtype | None = Field(
        None,
        description="Cast the weights, dequantising them. Default: as stored on a GPU; float32 "
        "where a CPU would have to run quantised weights.",
    )


class UnloadModelRequest(Request):
    model: str


class UnloadModelResponse(Response):
    unloaded: str


# --- tokens ----------------------------------------------------------------------------------


class ChatMessage(Request):
    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: str


class TokenizeRequest(Request):
    text: str | None = None
    messages: list[ChatMessage] | None = Field(None, description="Rendered by the chat template.")
    model: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "TokenizeRequest":
        if (self.text is None) == (self.messages is None):
            raise ValueError("give either text or messages")
        return self


class TokenizeResponse(Response):
    tokens: list[int]
    texts: list[str] = Field(description="The text of each token.")


class DetokenizeRequest(Request):
    tokens: TokenIds
    model: str | None = None


class DetokenizeResponse(Response):
    text: str


# --- hooks, interventions, records -----------------------------------------------------------


class HookSpec(Request):
    """What to capture, and where."""

    layer_name: str = Field(
        min_length=1,
        description="`5`, `model.layers.5`, `transformer.h.5`, `blocks.5`, `*`, `0-11`, "
        "`transformer.wte`, …",
        examples=["5", "*", "0-11"],
    )
    component: ComponentType
    hook_id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Default: `layer_5_residual`, `embedding_output`.",
    )
    capture_input: bool = Field(False, description="Capture what goes into the component.")
    capture_output: bool = Field(True, description="Capture what comes out of it.")
    positions: list[int] | None = Field(
        None,
        min_length=1,
        description="0-based positions in the whole sequence; negative ones count from the end "
        "of the prompt. Default: all.",
    )
    heads: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="0-based heads. Default: all."
    )
    dtype: Dtype = "float32"


class TensorValue(Request):
    """A tensor sent to the engine: its shape beside its data, row-major, little-endian."""

    shape: list[Annotated[int, Field(ge=0)]]
    dtype: Dtype = "float32"
    data: Any | None = Field(None, description="Nested lists, or a flat list, of numbers.")
    data_base64: str | None = None


class InterventionSpec(Request):
    """A change made to an activation while the model runs."""

    layer_name: str = Field(min_length=1)
    component: ComponentType
    operation: Literal[
        "ablation", "mean", "scaling", "addition", "replacement", "patching", "noise"
    ] = Field(
        description="ablation: zero. mean: the mean over positions. scaling: times `factor`. "
        "addition, replacement: `value`. patching: a kept capture. noise: Gaussian of standard "
        "deviation `scale`, from `seed`."
    )
    heads: list[Annotated[int, Field(ge=0)]] | None = Field(None, min_length=1)
    positions: list[int] | None = Field(None, min_length=1)
    factor: float | None = None
    value: TensorValue | None = None
    capture_id: str | None = None
    hook_id: str | None = None
    step: int = Field(0, ge=0)
    scale: float | None = Field(None, ge=0)
    seed: int | None = Field(None, ge=0)


class ActivationRecord(Response):
    """One activation of one forward pass."""

    hook_id: str
    layer_name: str
    layer: int | None = Field(description="0-based; null for embedding, final_norm and logits.")
    component: ComponentType
    step: int = Field(description="0 is the whole prompt; step k the k-th generated token's pass.")
    positions: list[int] = Field(
        description="First and last position of this forward pass that the record covers."
    )
    shape: list[int]
    dtype: str
    byte_order: Literal["little"] = "little"
    is_input: bool
    data: Any | None = Field(None, description="Nested lists, with format `array`.")
    data_base64: str | None = Field(None, description="With format `base64`.")
    tensor: str | None = Field(
        None, description="Name in the safetensors body, with format `reference`."
    )


Activations = dict[str, list[ActivationRecord]]


class RegisterHooksRequest(Request):
    hooks: list[HookSpec] = Field(min_length=1)
    model: str | None = None


class RegisteredHooks(Response):
    registered_hooks: list[str]


class HookEntry(Response):
    hook_id: str
    model: str
    spec: HookSpec


class HookList(Response):
    hooks: list[HookEntry]


class RemovedHooks(Response):
    removed_hooks: list[str]


class CaptureManifest(Response):
    capture_id: str
    model: str
    created: float = Field(description="Unix time in seconds.")
    bytes: int = Field(description="Size of the captured data.")
    activations: Activations = Field(description="Records without data, with tensor names.")


class CaptureList(Response):
    captures: list[CaptureManifest]
    bytes: int
    budget_bytes: int


class ForgottenCapture(Response):
    capture_id: str


# --- generation ------------------------------------------------------------------------------


class StreamOptions(Request):
    include_usage: bool = Field(False, description="End the stream with an event of token counts.")


class Sampling(Request):
    """Parameters that every generation takes."""

    model: str | None = None
    max_tokens: int = Field(100, ge=1)
    temperature: float = Field(0.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0: all.")
    min_p: float = Field(0.0, ge=0, le=1)
    seed: int | None = Field(None, ge=0)
    stop: str | list[str] | None = None
    repetition_penalty: float | None = Field(None, gt=0)
    logit_bias: dict[str, float] | None = Field(
        None, description="Token id to what is added to its logit."
    )
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = Field(1, description="How many answers; always one.")
    user: str | None = Field(None, description="Taken for OpenAI's clients; not used.")


class CompletionRequest(Sampling):
    prompt: str | TokenIds = Field(description="Text, or token ids.")
    logprobs: int | None = Field(
        None, ge=0, le=20, description="How many alternatives to report a token."
    )


class ChatCompletionRequest(Sampling):
    messages: list[ChatMessage] = Field(min_length=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    max_completion_tokens: int | None = Field(
        None, ge=1, description="OpenAI's newer name for `max_tokens`, over which it wins."
    )


class Capturing(Request):
    """What a request adds to look and reach inside."""

    activation_hooks: list[HookSpec] = Field(default_factory=list)
    interventions: list[InterventionSpec] = Field(default_factory=list)
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


class Completion(Response):
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


class ChatCompletion(Response):
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


# --- one forward pass ------------------------------------------------------------------------


class ForwardRequest(Capturing):
    prompt: str | TokenIds | list[TokenIds] | None = Field(
        None, description="Text, token ids, or a batch of sequences of equal length."
    )
    tokens: TokenIds | list[TokenIds] | None = Field(
        None, description="Token ids, in place of `prompt`."
    )
    model: str | None = None
    logits: Literal["last", "all", "none"] = Field(
        "last", description="Positions whose logits are answered."
    )
    top_k: int = Field(10, ge=0, le=1000, description="How many next tokens to list.")

    @model_validator(mode="after")
    def _one_of(self) -> "ForwardRequest":
        if (self.prompt is None) == (self.tokens is None):
            raise ValueError("give either prompt or tokens")
        return self


class TopToken(Response):
    id: int
    text: str
    logit: float
    probability: float


class Forward(Captured):
    tokens: list[list[int]]
    texts: list[list[str]]
    logits: ActivationRecord | None
    top: list[list[TopToken]] = Field(description="For each sequence, the likeliest next tokens.")
