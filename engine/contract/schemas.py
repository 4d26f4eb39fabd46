"""Every request and response of the endpoint, declared once.

Requests forbid unknown fields: a misspelt parameter is an error that names it, never ignored.
What breaks a schema is answered with 400; what fits it and cannot be done on this model, with 422.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import TypeAliasType

from engine.components import ComponentType

Dtype = Literal["float32", "float16", "bfloat16"]
ActivationFormat = Literal["array", "base64", "metadata", "reference"]
LARGEST = 2**31 - 1
"""Bound of every integer: what each JSON reader and every index type holds."""
MOST_HOOKS = 1024
MOST_SEQUENCES = 1024
MOST_STOPS = 64


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 8.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)
Index = Annotated[int, Field(ge=0, le=LARGEST), Whole]
Count = Annotated[int, Field(ge=1, le=LARGEST), Whole]
CacheSize = Annotated[int, Field(ge=8, le=LARGEST), Whole]
Alternatives = Annotated[int, Field(ge=0, le=20), Whole]
Likeliest = Annotated[int, Field(ge=0, le=1000), Whole]
LensTokens = Annotated[int, Field(ge=1, le=100), Whole]
Text = Annotated[str, Field(min_length=1)]

# Named in the document too, for those that generate types from it.
Head = TypeAliasType("Head", Index)
Position = TypeAliasType("Position", Annotated[int, Field(ge=-LARGEST, le=LARGEST), Whole])
StopString = TypeAliasType("StopString", Text)
TokenId = TypeAliasType("TokenId", Index)
TokenIds = TypeAliasType("TokenIds", Annotated[list[TokenId], Field(min_length=1)])
Batch = Annotated[list[TokenIds], Field(min_length=1, max_length=MOST_SEQUENCES)]

TokenKey = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
Biases = Annotated[dict[TokenKey, Bias], Field(json_schema_extra={"additionalProperties": False})]


def one_of(one: str, other: str) -> dict[str, Any]:
    """JSON schema: exactly one of two fields is given and not null."""
    null, given = {"type": "null"}, {"not": {"type": "null"}}
    neither = {"properties": {one: null, other: null}}
    both = {"properties": {one: given, other: given}, "required": [one, other]}
    return {"not": {"anyOf": [neither, both]}}


def require_one(model: BaseModel, one: str, other: str) -> None:
    """What `one_of` says, as validation."""
    if (getattr(model, one) is None) == (getattr(model, other) is None):
        raise ValueError(f"give either {one} or {other}")


class Request(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


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
    model_path: str = Field(
        min_length=1,
        pattern=r"^[^\x00]+$",
        description="A model folder, a pulled model's name, or a hub id where allowed.",
    )
    model_id: str | None = Field(
        None, description="The name to give it; default: the last part of the path."
    )
    max_kv_size: CacheSize | None = Field(None, description="Tokens kept in a rotating cache.")
    kv_bits: Literal[2, 3, 4, 6, 8] | None = Field(None, description="Quantise the cache.")
    kv_group_size: Literal[32, 64, 128] = Field(64)
    quantized_kv_start: Index = Field(0, description="Tokens before the cache is quantised.")
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
    model_config = ConfigDict(json_schema_extra=one_of("text", "messages"))

    text: str | None = None
    messages: list[ChatMessage] | None = Field(
        None, min_length=1, description="Rendered by the chat template."
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
    tokens: list[TokenId]
    model: str | None = None


class DetokenizeResponse(Response):
    text: str


# --- hooks, interventions, records -----------------------------------------------------------


class HookSpec(Request):
    """What to capture, and where."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "properties": {
                    "capture_input": {"const": False},
                    "capture_output": {"const": False},
                },
                "required": ["capture_output"],
            }
        }
    )

    layer_name: str = Field(
        min_length=1,
        description="`5`, `model.layers.5`, `transformer.h.5`, `blocks.5`, `*`, `0-11`, "
        "`transformer.wte`, …",
        examples=["0", "*", "0-1"],
    )
    component: ComponentType
    hook_id: str | None = Field(
        None,
        min_length=1,
        description="Default: `layer_5_residual`, `embedding_output`.",
    )
    capture_input: bool = Field(False, description="Capture what goes into the component.")
    capture_output: bool = Field(True, description="Capture what comes out of it.")
    positions: list[Position] | None = Field(
        None,
        min_length=1,
        description="0-based positions in the whole sequence; negative ones count from the end "
        "of the prompt. Default: all.",
    )
    heads: list[Head] | None = Field(None, min_length=1, description="0-based heads. Default: all.")
    dtype: Dtype = "float32"

    @model_validator(mode="after")
    def _captures(self) -> "HookSpec":
        if not (self.capture_input or self.capture_output):
            raise ValueError("a hook captures its input, its output, or both")
        return self


class TensorValue(Request):
    """A tensor sent to the engine: its shape beside its data, row-major, little-endian."""

    model_config = ConfigDict(json_schema_extra=one_of("data", "data_base64"))

    shape: list[Index]
    dtype: Dtype = "float32"
    data: Any | None = Field(None, description="Nested lists, or a flat list, of numbers.")
    data_base64: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "TensorValue":
        require_one(self, "data", "data_base64")
        return self


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
    heads: list[Head] | None = Field(None, min_length=1)
    positions: list[Position] | None = Field(None, min_length=1)
    factor: float | None = None
    value: TensorValue | None = None
    capture_id: str | None = None
    hook_id: str | None = None
    step: Index = 0
    scale: float | None = Field(None, ge=0)
    seed: Index | None = None


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
    data: Any | None = Field(
        None, description="Nested lists, with format `array`; null is -inf, a masked score."
    )
    data_base64: str | None = Field(None, description="With format `base64`.")
    tensor: str | None = Field(
        None, description="Name in the safetensors body, with format `reference`."
    )


Activations = dict[str, list[ActivationRecord]]


class RegisterHooksRequest(Request):
    hooks: list[HookSpec] = Field(min_length=1, max_length=MOST_HOOKS)
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


class CaptureSummary(Response):
    capture_id: str
    model: str
    created: float = Field(description="Unix time in seconds.")
    bytes: int = Field(description="Size of the captured data.")


class CaptureManifest(CaptureSummary):
    activations: Activations = Field(description="Records without data, with tensor names.")


class CaptureList(Response):
    captures: list[CaptureSummary]
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
    max_tokens: Count = 100
    temperature: float = Field(0.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: Index = Field(0, description="0: all.")
    min_p: float = Field(0.0, ge=0, le=1)
    seed: Index | None = None
    stop: Text | Annotated[list[StopString], Field(max_length=MOST_STOPS)] | None = None
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    logit_bias: Biases | None = Field(None, description="Token id to what is added to its logit.")
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = Field(1, description="How many answers; always one.")
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
    model_config = ConfigDict(json_schema_extra=one_of("prompt", "tokens"))

    prompt: Text | TokenIds | Batch | None = Field(
        None, description="Text, token ids, or a batch of sequences of equal length."
    )
    tokens: TokenIds | Batch | None = Field(None, description="Token ids, in place of `prompt`.")
    model: str | None = None
    logits: Literal["last", "all", "none"] = Field(
        "last", description="Positions whose logits are answered."
    )
    top_k: Likeliest = Field(10, description="How many next tokens to list.")

    @model_validator(mode="after")
    def _one_of(self) -> "ForwardRequest":
        require_one(self, "prompt", "tokens")
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


# --- logit lens ------------------------------------------------------------------------------


class LogitLensRequest(Request):
    prompt: Text | TokenIds = Field(description="Text, or token ids.")
    model: str | None = None
    top_k: LensTokens = Field(5, description="How many tokens to list at each place.")


class LensLayer(Response):
    layer: int
    top: list[list[TopToken]] = Field(description="For each position, its likeliest next tokens.")


class LogitLens(Response):
    tokens: list[int]
    texts: list[str]
    layers: list[LensLayer]


# --- circuits --------------------------------------------------------------------------------


class CircuitPatchRequest(Request):
    """Two prompts of equal length in tokens, and what to change in the run of one of them."""

    clean: Text | TokenIds = Field(description="The prompt that has the answer: text or token ids.")
    corrupted: Text | TokenIds = Field(description="The same with the answer taken away.")
    answer: Text | TokenId = Field(
        description="A token, by its text or its id; the score is its logit minus that of "
        "`distractor`, at the last position."
    )
    distractor: Text | TokenId = Field(description="A token, by its text or its id.")
    component: Literal["residual", "attention", "mlp", "head_output"] = "head_output"
    method: Literal["activation_patching", "attribution_patching", "ablation"] = Field(
        "activation_patching",
        description="activation_patching: the activation of the other prompt. "
        "attribution_patching: its effect to first order, in few passes. ablation: zero.",
    )
    direction: Literal["denoising", "noising"] = Field(
        "denoising",
        description="denoising: the corrupted prompt's run is changed, and the effect is the share "
        "of the difference between the scores that is restored. noising: the clean one's, and the "
        "share that is lost.",
    )
    layers: list[Index] | None = Field(None, min_length=1, description="Default: all.")
    positions: Literal["all", "each"] | Annotated[list[Position], Field(min_length=1)] = Field(
        "all",
        description="Which are changed together: all, or those of a list; or each by itself.",
    )
    model: str | None = None


class Tensor(Response):
    """Numbers by themselves, row-major."""

    shape: list[int]
    dtype: Literal["float32"] = "float32"
    byte_order: Literal["little"] = "little"
    data: Any = Field(description="Nested lists.")


class CircuitEffects(Response):
    clean_score: float
    corrupted_score: float
    layers: list[int] = Field(description="What the first axis of `effects` counts.")
    heads: list[int] | None = Field(description="What its second axis counts, with head_output.")
    positions: list[list[int]] = Field(description="The groups of positions changed together.")
    effects: Tensor = Field(
        description="layers x heads, or layers x groups of positions; with heads and each position "
        "by itself, layers x heads x positions. 0 is no effect and 1 the whole one."
    )


# --- exchanges -------------------------------------------------------------------------------


class StopSpec(Request):
    """A hook point at which a forward pass stops and shows its value; all of it, or a part."""

    layer_name: str = Field(min_length=1, description="As in a hook; a wildcard stops at each.")
    component: ComponentType
    hook_id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="By which the client knows the stop. Default: `layer_5_residual`, …",
    )
    heads: list[Head] | None = Field(None, min_length=1)
    positions: list[Position] | None = Field(None, min_length=1)


class ExchangeRequest(ForwardRequest):
    """A forward pass that stops. At one hook point, stops come after declared interventions."""

    stops: list[StopSpec] = Field(min_length=1, max_length=MOST_HOOKS)
    stop_format: Literal["array", "base64"] = Field(
        "base64", description="The form of the values at the stops."
    )


class GoOnRequest(Request):
    value: TensorValue | None = Field(
        None, description="What the pass goes on with, of the stop's shape. Default: the value."
    )


class ExchangeState(Response):
    exchange_id: str
    state: Literal["stopped", "done"]
    stop: ActivationRecord | None = Field(
        None, description="If stopped: the value at the stop, in float32."
    )
    result: Forward | None = Field(None, description="If done: the forward pass.")


class CancelledExchange(Response):
    exchange_id: str
