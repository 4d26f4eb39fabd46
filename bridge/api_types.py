"""The requests and responses of the endpoint as types.

Generated from openapi.json by `make regenerate`; not to be edited.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict


class Adapter(TypedDict):
    name: str
    format: Literal["mlx-lm", "peft"]
    kind: Literal["lora", "dora", "full"]
    modules: list[str]
    rank: int | None
    scale: float | None


FeatureSet: TypeAlias = str


SkippedPosition: TypeAlias = int


class AttributionTerm(TypedDict):
    part: Literal[
        "embedding",
        "layer",
        "attention",
        "mlp",
        "head",
        "neuron",
        "other_neurons",
        "attention_bias",
        "rest",
        "final_norm_bias",
        "unembedding_bias",
        "soft_cap",
        "feature",
        "other_features",
        "reconstruction_error",
    ]
    layer: int | None
    index: int | None
    value: float
    feature_set: str | None


class CalledFunction(TypedDict):
    name: str
    arguments: str


class CalledTool(TypedDict):
    """
    A call in a message of the history.
    """

    id: str
    type: NotRequired[Literal["function"] | None]
    function: CalledFunction
    index: NotRequired[int | None]


class CancelledJob(TypedDict):
    job_id: str


class CancelledSession(TypedDict):
    session_id: str


class CaptureSummary(TypedDict):
    capture_id: str
    model: str
    created: float
    bytes: int


class CircuitCompleteness(TypedDict):
    """
    A subset of the circuit, removed from the circuit and from the model.
    """

    subset: list[int]
    circuit_score: float
    model_score: float
    incompleteness: float


Source: TypeAlias = str


Destination: TypeAlias = str


class CircuitMinimality(TypedDict):
    """
    A part, and the removed subset of the circuit beside which removing it matters most.
    """

    part: int
    subset: list[int]
    score_with: float
    score_without: float
    minimality: float


Layer: TypeAlias = int


Neuron: TypeAlias = int


class CircuitPaths(TypedDict):
    """
    What the paths from senders to receivers carry, in units of the task's score.
    """

    warnings: NotRequired[list[str]]
    clean_scores: list[float]
    corrupted_scores: list[float]
    scores: list[list[float]]
    effects: list[float]


SenderItem: TypeAlias = str


Sender: TypeAlias = list[SenderItem]


Receiver: TypeAlias = str


Sender1Item: TypeAlias = str


Sender1: TypeAlias = list[Sender1Item]


class CircuitVerification(TypedDict):
    """
    What a circuit does by itself: scores and differences in logits, means over the clean
    prompts of the examples (Wang et al. 2022, arXiv:2211.00593).
    """

    warnings: NotRequired[list[str]]
    model_score: float
    circuit_score: float
    empty_score: float
    faithfulness: float
    faithfulness_share: float | None
    incompleteness: float
    completeness: list[CircuitCompleteness]
    minimality: list[CircuitMinimality]


class CompletionDetails(TypedDict):
    reasoning_tokens: int


class CompletionLogprobs(TypedDict):
    """
    Of the tokens whose text, or some of it, is in the choice's text.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: NotRequired[list[dict[str, float] | None] | None]
    text_offset: list[int]


PromptItem: TypeAlias = str


ComponentName: TypeAlias = str


ComponentType: TypeAlias = Literal[
    "embedding",
    "residual",
    "residual_mid",
    "layernorm",
    "attention",
    "mlp",
    "mlp_gate",
    "mlp_hidden",
    "query_pre_rope",
    "key_pre_rope",
    "query",
    "key",
    "value",
    "attention_scores",
    "attention_pattern",
    "head_output",
    "router",
    "router_choice",
    "expert_output",
    "final_norm",
    "logits",
]


class Correction(TypedDict):
    name: str
    reason: str


class DebugPlace(TypedDict):
    """
    A value that the model calculates: a component of a layer.
    """

    layer: int | None
    component: ComponentType
    is_input: bool
    field_name: str | None


class DebugRestartRequest(TypedDict):
    layer: int


class DebugStepRequest(TypedDict):
    """
    How far to go on: to what comes next, or to a place that is ahead.
    """

    to: NotRequired[Literal["layer", "point", "end"] | None]
    layer_name: NotRequired[str | None]
    component: NotRequired[ComponentName | None]


class DeletedSteeringVector(TypedDict):
    vector: str


class DetokenizeResponse(TypedDict):
    text: str
    texts: list[str]


class EdgeFaithfulness(TypedDict):
    """
    How much of the difference between the prompts circuits of edges restore.
    """

    warnings: NotRequired[list[str]]
    sizes: list[int]
    edge_count: int
    clean_score: float
    corrupted_score: float
    scores: list[float]
    faithfulness: list[float]
    random_faithfulness: list[list[float]]
    cpr: float
    cmd: float


Size: TypeAlias = int


class EdgeSpec(TypedDict):
    """
    An edge by the names of its ends.
    """

    source: str
    destination: str


class Embedding(TypedDict):
    object: NotRequired[Literal["embedding"]]
    index: int
    embedding: list[float] | str


InputItem: TypeAlias = str


class EmbeddingsUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int


class EndedDebugSession(TypedDict):
    session_id: str


class ErrorDetail(TypedDict):
    message: str
    type: str
    code: int
    param: NotRequired[str | None]


class ErrorResponse(TypedDict):
    error: ErrorDetail


class FeatureActivation(TypedDict):
    """
    A feature, and what its activation is set to.
    """

    layer: int
    position: int
    feature: int
    activation: NotRequired[float | None]


class FeatureEffect(TypedDict):
    id: int
    text: str
    logit: float


class FeatureExample(TypedDict):
    value: float
    position: int
    tokens: list[int]
    texts: list[str]
    activations: list[float]
    file: str
    document: int
    token: int


class FeatureExamplesEntry(TypedDict):
    feature: int
    on: int
    density: float
    mean: float | None
    edges: list[float | None]
    histogram: list[int]
    examples: list[FeatureExample]
    promoted: list[FeatureEffect] | None
    suppressed: list[FeatureEffect] | None


Feature: TypeAlias = int


Text: TypeAlias = str


class FeatureExamplesRequest(TypedDict):
    feature_set: str
    features: list[Feature]
    layer: NotRequired[int | None]
    texts: NotRequired[list[Text] | None]
    texts_path: NotRequired[str | None]
    top_k: NotRequired[int | None]
    before: NotRequired[int | None]
    after: NotRequired[int | None]
    context: NotRequired[int | None]
    skipped: NotRequired[int | None]
    tokens: NotRequired[int | None]
    effects: NotRequired[int | None]
    resume: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]


class FeatureLayerMetrics(TypedDict):
    layer: int | None
    explained_variance: float | None
    mse: float
    l0: float
    active: float


class FeatureMetrics(TypedDict):
    """
    Losses are means over all predicted tokens, in nats.
    """

    warnings: NotRequired[list[str]]
    positions: int
    predicted_tokens: int
    layers: list[FeatureLayerMetrics]
    loss: float
    loss_reconstructed: float
    loss_zero: float
    loss_mean: float
    loss_recovered: float | None
    loss_recovered_from_mean: float | None


class FeatureOutcome(TypedDict):
    before: float
    predicted: float
    measured: float
    layer: int
    position: int
    feature: int


class FeaturePlace(TypedDict):
    """
    A feature of a layer at a position.
    """

    layer: int
    position: int
    feature: int


class FeatureSetEntry(TypedDict):
    warnings: NotRequired[list[str]]
    id: str
    model: str
    architecture: str
    reads: list[str]
    writes: list[str]
    layers: list[int | None]
    d_in: int
    d_out: int
    n_features: int
    bytes: int
    metadata: dict[str, Any]


class FeatureSetList(TypedDict):
    feature_sets: list[FeatureSetEntry]


class FeatureTokens(TypedDict):
    feature_set: str
    feature: int
    layer: int | None
    promoted: list[FeatureEffect]
    suppressed: list[FeatureEffect]


class FeatureTokensRequest(TypedDict):
    feature_set: str
    feature: int
    layer: NotRequired[int | None]
    top_k: NotRequired[int | None]
    model: NotRequired[str | None]


class ForgottenCapture(TypedDict):
    capture_id: str


class FunctionCall(TypedDict):
    name: str
    arguments: str


class FunctionChoice(TypedDict):
    """
    A call of this function.
    """

    type: Literal["function"]
    name: str


class FunctionReference(TypedDict):
    name: str


class FunctionSpec(TypedDict):
    name: str
    description: NotRequired[str | None]
    parameters: NotRequired[dict[str, Any] | None]
    strict: NotRequired[bool | None]


class FunctionTool(TypedDict):
    type: Literal["function"]
    name: str
    description: NotRequired[str | None]
    parameters: NotRequired[dict[str, Any] | None]
    strict: NotRequired[bool | None]


class GenerationStats(TypedDict):
    """
    How fast a reply was generated, all its choices together, as LM Studio tells it.
    """

    tokens_per_second: float
    time_to_first_token: float
    generation_time: float
    stop_reason: Literal["eosFound", "stopStringFound", "maxPredictedTokensReached"]
    draft_model: NotRequired[str | None]
    total_draft_tokens_count: NotRequired[int | None]
    accepted_draft_tokens_count: NotRequired[int | None]
    rejected_draft_tokens_count: NotRequired[int | None]
    ignored_draft_tokens_count: NotRequired[int | None]


class GraphCounts(TypedDict):
    """
    What the whole graph has, before it is pruned.
    """

    active_features: int
    nodes: int
    edges: int


class GraphLink(TypedDict):
    """
    An edge: the direct effect of its source, by the source's activation, on its target.
    """

    source: str
    target: str
    weight: float


class GraphNode(TypedDict):
    """
    A feature, what features miss, a token's embedding, or a logit, in Neuronpedia's fields.
    """

    node_id: str
    feature: int
    layer: str
    ctx_idx: int
    feature_type: Literal[
        "cross layer transcoder", "mlp reconstruction error", "embedding", "logit"
    ]
    token_prob: float
    is_target_logit: bool
    run_idx: int
    reverse_ctx_idx: int
    jsNodeId: str
    clerp: str
    influence: float
    index: int | None
    activation: float | None
    value: float | None
    bias: float | None


class GraphScores(TypedDict):
    """
    How much of the model's computation the features explain, of the whole graph, from 0 to 1.
    """

    replacement: float
    completeness: float


class GraphView(TypedDict):
    """
    What a viewer shows first: nothing is chosen.
    """

    pinnedIds: list[str]
    supernodes: list[list[str]]
    linkType: str
    clickedId: str
    sg_pos: str


Head: TypeAlias = int


class Health(TypedDict):
    status: Literal["ok", "loading", "failed"]
    version: str
    api_version: str
    model: str | None
    ready: bool
    queue_depth: int


class ImportSteeringVectorRequest(TypedDict):
    data_base64: str
    name: NotRequired[str | None]


class IncompleteDetails(TypedDict):
    reason: Literal["max_output_tokens"]


class InputCall(TypedDict):
    """
    What the model called before.
    """

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: NotRequired[str | None]
    status: NotRequired[str | None]


class InputDetails(TypedDict):
    cached_tokens: int


class InputText(TypedDict):
    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: NotRequired[list[Any] | None]
    logprobs: NotRequired[list[Any] | None]


class IntegratedAttributions(TypedDict):
    """
    Integrated gradients by token, in units of the target (Sundararajan et al. 2017).
    """

    attributions: list[float]
    baseline_score: float
    delta: float
    steps: int


class JobProgress(TypedDict):
    done: int
    total: int
    unit: Literal["prompt tokens", "tokens", "passes", "layers", "texts", "weights", "targets"]


class JsonObjectFormat(TypedDict):
    """
    Any JSON object.
    """

    type: Literal["json_object"]


class KeptSession(TypedDict):
    session_id: str
    seconds: float


class LayerStrength(TypedDict):
    layer: int
    strength: float


class LensFile(TypedDict):
    """
    A lens that somebody trained, on the server's disk.
    """

    kind: Literal["tuned", "jacobian"]
    path: str


class LoadFeaturesRequest(TypedDict):
    features_path: str
    subfolder: NotRequired[str | None]
    feature_set: NotRequired[str | None]
    hook_name: NotRequired[str | None]
    hook_name_out: NotRequired[str | None]
    model: NotRequired[str | None]


class LoadModelRequest(TypedDict):
    model_path: str
    adapter_path: NotRequired[str | None]
    model_id: NotRequired[str | None]
    max_kv_size: NotRequired[int | None]
    kv_bits: NotRequired[Literal[2, 3, 4, 6, 8] | None]
    kv_group_size: NotRequired[Literal[32, 64, 128] | None]
    quantized_kv_start: NotRequired[int | None]
    context_length: NotRequired[int | None]
    prefill_step_size: NotRequired[int | None]
    dtype: NotRequired[Literal["float32", "float16", "bfloat16"] | None]
    corrections: NotRequired[bool | None]


class LogitAttribution(TypedDict):
    warnings: NotRequired[list[str]]
    tokens: list[int]
    texts: list[str]
    position: int
    logit: float
    sum: float
    error: float
    terms: list[AttributionTerm]


class LogitOutcome(TypedDict):
    before: float
    predicted: float
    measured: float
    id: int
    text: str
    probability: float
    probability_measured: float


class NamedSchema(TypedDict):
    name: str
    description: NotRequired[str | None]
    schema: dict[str, Any]
    strict: NotRequired[bool | None]


class NamedTool(TypedDict):
    """
    A call of this function.
    """

    type: Literal["function"]
    function: FunctionReference


class NearToken(TypedDict):
    id: int
    text: str
    cosine: float


class NearestTokens(TypedDict):
    id: int
    text: str
    nearest: list[NearToken]


class OutputCall(TypedDict):
    """
    A call that the model asks for.
    """

    id: str
    type: NotRequired[Literal["function_call"]]
    status: Literal["in_progress", "completed", "incomplete"]
    call_id: str
    name: str
    arguments: str


class OutputDetails(TypedDict):
    reasoning_tokens: int


class OutputReasoningText(TypedDict):
    type: NotRequired[Literal["reasoning_text"]]
    text: str


class OutputText(TypedDict):
    type: NotRequired[Literal["output_text"]]
    text: str
    annotations: NotRequired[list[Any]]


Position: TypeAlias = int


class ProgressEvent(TypedDict):
    """
    What a stream tells of a job until its result is there.
    """

    done: int
    total: int
    unit: Literal["prompt tokens", "tokens", "passes", "layers", "texts", "weights", "targets"]
    type: Literal["progress"]
    job_id: str


class PromotedTokensRequest(TypedDict):
    layer: int
    neuron: int
    expert: NotRequired[int | None]
    top_k: NotRequired[int | None]
    model: NotRequired[str | None]


class PromptTokensDetails(TypedDict):
    cached_tokens: int


class ReasoningText(TypedDict):
    type: Literal["reasoning_text"]
    text: str


class RegisterSteeringRequest(TypedDict):
    vector: str
    model: NotRequired[str | None]
    steering_id: NotRequired[str | None]
    operation: NotRequired[Literal["addition", "ablation"] | None]
    strength: NotRequired[float | None]
    strengths: NotRequired[list[LayerStrength] | None]
    of_layer: NotRequired[int | None]
    positions: NotRequired[Literal["all", "prompt", "generated"] | None]
    scope: NotRequired[Literal["server", "session"] | None]


class RegisteredHooks(TypedDict):
    registered_hooks: list[str]


class RemovedHooks(TypedDict):
    removed_hooks: list[str]


class RemovedSteering(TypedDict):
    removed_steering: list[str]


class ResponseUsage(TypedDict):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class SchemaFormat(TypedDict):
    """
    JSON that a schema allows.
    """

    type: Literal["json_schema"]
    name: str
    description: NotRequired[str | None]
    schema: dict[str, Any]
    strict: NotRequired[bool | None]


class ScoredEdge(TypedDict):
    source: str
    destination: str
    score: float


class ScoredNode(TypedDict):
    name: str
    kind: Literal["query", "key", "value", "head", "mlp"]
    layer: int
    unit: int | None
    score: float
    magnitude: float | None


class SteeringDirection(TypedDict):
    layer: int
    norm: float


class SteeringStrength(TypedDict):
    layer: int
    strength: float


class SteeringVectorEntry(TypedDict):
    vector: str
    width: int
    directions: list[SteeringDirection]
    architecture: str | None
    about: dict[str, str]


class SteeringVectorFile(TypedDict):
    vector: str
    format: Literal["safetensors", "gguf"]
    data_base64: str


class SteeringVectorList(TypedDict):
    vectors: list[SteeringVectorEntry]


StopString: TypeAlias = str


class StreamOptions(TypedDict):
    include_usage: NotRequired[bool | None]
    include_obfuscation: NotRequired[Literal[False] | None]


ChoiceItem: TypeAlias = str


class StructuredOutputs1(TypedDict):
    """
    A form by vLLM's names: exactly one is given.
    """

    json: dict[str, Any] | None
    regex: NotRequired[str | None]
    choice: NotRequired[list[ChoiceItem] | None]
    grammar: NotRequired[str | None]


class StructuredOutputs2(TypedDict):
    """
    A form by vLLM's names: exactly one is given.
    """

    json: NotRequired[dict[str, Any] | None]
    regex: str | None
    choice: NotRequired[list[ChoiceItem] | None]
    grammar: NotRequired[str | None]


class StructuredOutputs3(TypedDict):
    """
    A form by vLLM's names: exactly one is given.
    """

    json: NotRequired[dict[str, Any] | None]
    regex: NotRequired[str | None]
    choice: list[ChoiceItem] | None
    grammar: NotRequired[str | None]


class StructuredOutputs4(TypedDict):
    """
    A form by vLLM's names: exactly one is given.
    """

    json: NotRequired[dict[str, Any] | None]
    regex: NotRequired[str | None]
    choice: NotRequired[list[ChoiceItem] | None]
    grammar: str | None


StructuredOutputs: TypeAlias = (
    StructuredOutputs1 | StructuredOutputs2 | StructuredOutputs3 | StructuredOutputs4
)


class Tensor(TypedDict):
    """
    Numbers by themselves, row-major.
    """

    shape: list[int]
    dtype: NotRequired[Literal["float32"]]
    byte_order: NotRequired[Literal["little"]]
    data: Any


ShapeItem: TypeAlias = int


class TensorValue(TypedDict):
    """
    A tensor sent to the engine: its shape beside its data, row-major, little-endian.
    """

    shape: list[ShapeItem]
    dtype: NotRequired[Literal["float32", "float16", "bfloat16"] | None]
    data: NotRequired[Any]
    data_base64: NotRequired[str | None]


class TextFormat(TypedDict):
    type: Literal["text"]


class TextOptions(TypedDict):
    format: NotRequired[TextFormat | JsonObjectFormat | SchemaFormat | None]
    verbosity: NotRequired[Literal["medium"] | None]


class TextPart(TypedDict):
    type: Literal["text"]
    text: str


class TokenEffect(TypedDict):
    id: int
    text: str
    logit: float


TokenId: TypeAlias = int


TokenIds: TypeAlias = list[TokenId]


class TokenSaliency(TypedDict):
    """
    How much each token matters, one number a token.
    """

    gradient_x_input: list[float]
    norm: list[float]


class TokenizeResponse(TypedDict):
    tokens: list[int]
    texts: list[str]


class ToolCall(TypedDict):
    id: str
    type: NotRequired[Literal["function"]]
    function: FunctionCall


class ToolSpec(TypedDict):
    type: Literal["function"]
    function: FunctionSpec


class TopLogprob(TypedDict):
    token: str
    logprob: float
    bytes: list[int]


class TopToken(TypedDict):
    id: int
    text: str
    logit: float
    probability: float


class UnloadFeaturesRequest(TypedDict):
    feature_set: str
    model: NotRequired[str | None]


class UnloadModelRequest(TypedDict):
    model: str


class UnloadModelResponse(TypedDict):
    unloaded: str


class UnloadedFeatures(TypedDict):
    unloaded: str


class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionDetails


class WeightEntry(TypedDict):
    name: str
    layers: list[int] | None
    axes: list[str]
    shape: list[int]
    modules: list[str]
    notes: list[str]
    reason: str | None


class WeightList(TypedDict):
    object: NotRequired[Literal["list"]]
    model: str
    data: list[WeightEntry]


class ActivationRecord(TypedDict):
    """
    One activation of one forward pass.
    """

    hook_id: str
    layer_name: str
    layer: int | None
    component: ComponentType
    field_name: str | None
    step: int
    positions: list[int]
    position_list: list[int] | None
    shape: list[int]
    dtype: str
    byte_order: NotRequired[Literal["little"]]
    is_input: bool
    data: NotRequired[Any]
    data_base64: NotRequired[str | None]
    tensor: NotRequired[str | None]
    feature_set: NotRequired[str | None]
    indices: NotRequired[Any]
    values: NotRequired[Any]
    indices_base64: NotRequired[str | None]
    values_base64: NotRequired[str | None]
    offsets_base64: NotRequired[str | None]


class AssistantMessage(TypedDict):
    role: NotRequired[Literal["assistant"]]
    content: str | None
    reasoning_content: NotRequired[str | None]
    tool_calls: NotRequired[list[ToolCall] | None]


class AttributionGraphRequest(TypedDict):
    """
    What a graph of a prompt's last position is to have.
    """

    prompt: str | TokenIds
    feature_sets: NotRequired[list[FeatureSet] | None]
    skipped_positions: NotRequired[list[SkippedPosition] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    max_logits: NotRequired[int | None]
    logit_mass: NotRequired[float | None]
    max_feature_nodes: NotRequired[int | None]
    node_threshold: NotRequired[float | None]
    edge_threshold: NotRequired[float | None]
    slug: NotRequired[str | None]
    stream: NotRequired[bool | None]


class BreakpointSpec(TypedDict):
    """
    A hook point at which a forward pass pauses and shows its value; all of it, or a part.
    """

    layer_name: str
    component: NotRequired[ComponentName | None]
    hook_id: NotRequired[str | None]
    heads: NotRequired[list[Head] | None]
    positions: NotRequired[Literal["all", "prompt", "generated"] | list[Position] | None]


class CaptureList(TypedDict):
    captures: list[CaptureSummary]
    bytes: int
    budget_bytes: int


class CaptureManifest(TypedDict):
    capture_id: str
    model: str
    created: float
    bytes: int
    activations: dict[str, list[ActivationRecord]]


class ChatMessage(TypedDict):
    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: NotRequired[str | list[TextPart] | None]
    name: NotRequired[str | None]
    tool_calls: NotRequired[list[CalledTool] | None]
    tool_call_id: NotRequired[str | None]
    reasoning_content: NotRequired[str | None]
    refusal: NotRequired[None]
    annotations: NotRequired[list[Any] | None]
    audio: NotRequired[None]
    function_call: NotRequired[None]


class CircuitAblation(TypedDict):
    """
    What the activation of an ablated part is set to.
    """

    kind: NotRequired[Literal["zero", "mean", "resample"] | None]
    references: NotRequired[list[str | TokenIds] | None]
    over: NotRequired[Literal["prompts", "positions"] | None]
    samples: NotRequired[int | None]
    seed: NotRequired[int | None]


class CircuitEdges(TypedDict):
    """
    Scores estimate how the task's score changes with the edge patched, in its units.
    """

    warnings: NotRequired[list[str]]
    clean_score: float
    corrupted_score: float
    sources: list[str]
    destinations: list[str]
    edge_count: int
    edges: list[ScoredEdge]
    all_scores: Tensor | None
    safetensors_base64: str | None
    forward_passes: int
    backward_passes: int


class CircuitEffects(TypedDict):
    """
    Scores are in logits; effects are shares of the difference between the two prompts.
    """

    warnings: NotRequired[list[str]]
    clean_score: float
    corrupted_score: float
    clean_scores: list[float]
    corrupted_scores: list[float]
    layers: list[int] | None
    heads: list[int] | None
    neurons: list[int] | None
    positions: list[list[int]] | None
    effects: Tensor
    scores: Tensor


class CircuitExample(TypedDict):
    """
    Two prompts of equal length in tokens, and the tokens whose logits are compared.
    """

    clean: str | TokenIds
    corrupted: str | TokenIds
    answers: list[str | TokenId]
    distractors: list[str | TokenId]


class CircuitNodes(TypedDict):
    """
    Scores estimate how the task's score changes with the node patched, in its units.
    """

    warnings: NotRequired[list[str]]
    clean_score: float
    corrupted_score: float
    nodes: list[ScoredNode]
    forward_passes: int
    backward_passes: int


class CircuitNodesRequest1(TypedDict):
    """
    Examples over which all nodes are scored by AtP* (Kramár et al. 2024).
    """

    clean: NotRequired[str | TokenIds | None]
    corrupted: NotRequired[str | TokenIds | None]
    answer: NotRequired[str | TokenId | None]
    distractor: NotRequired[str | TokenId | None]
    examples: list[CircuitExample] | None
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    qk_fix: NotRequired[bool | None]
    grad_drop: NotRequired[bool | None]


class CircuitNodesRequest2(TypedDict):
    """
    Examples over which all nodes are scored by AtP* (Kramár et al. 2024).
    """

    clean: str | TokenIds | None
    corrupted: str | TokenIds | None
    answer: str | TokenId | None
    distractor: str | TokenId | None
    examples: NotRequired[list[CircuitExample] | None]
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    qk_fix: NotRequired[bool | None]
    grad_drop: NotRequired[bool | None]


CircuitNodesRequest: TypeAlias = CircuitNodesRequest1 | CircuitNodesRequest2


class CircuitPart(TypedDict):
    """
    A component of a layer, or one head or neuron of it, at some positions.
    """

    layer: int
    component: NotRequired[
        Literal[
            "residual",
            "attention",
            "mlp",
            "mlp_hidden",
            "head_output",
            "hook_resid_post",
            "hook_out",
            "hook_attn_out",
            "attn.hook_out",
            "hook_mlp_out",
            "mlp.hook_out",
            "mlp.hook_post",
            "attn.hook_z",
        ]
        | None
    ]
    head: NotRequired[Head | None]
    neuron: NotRequired[int | None]
    positions: NotRequired[list[Position] | None]


Set: TypeAlias = list[CircuitPart]


class CircuitPatchRequest1(TypedDict):
    """
    Examples, and what to change in the run of one of the prompts of each.

    Without `sets`, each part of a component is changed by itself: all of it at some layers and
    positions, or each head or neuron there. With `sets`, the parts of each set are changed at once.
    """

    clean: NotRequired[str | TokenIds | None]
    corrupted: NotRequired[str | TokenIds | None]
    answer: NotRequired[str | TokenId | None]
    distractor: NotRequired[str | TokenId | None]
    examples: list[CircuitExample] | None
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    component: NotRequired[
        Literal[
            "residual",
            "attention",
            "mlp",
            "mlp_hidden",
            "head_output",
            "hook_resid_post",
            "hook_out",
            "hook_attn_out",
            "attn.hook_out",
            "hook_mlp_out",
            "mlp.hook_out",
            "mlp.hook_post",
            "attn.hook_z",
        ]
        | None
    ]
    method: NotRequired[Literal["activation_patching", "attribution_patching", "ablation"] | None]
    direction: NotRequired[Literal["denoising", "noising"] | None]
    ablation: NotRequired[CircuitAblation | None]
    layers: NotRequired[list[Layer] | None]
    heads: NotRequired[list[Head] | None]
    neurons: NotRequired[list[Neuron] | None]
    positions: NotRequired[Literal["all", "each"] | list[Position] | None]
    sets: NotRequired[list[Set] | None]


class CircuitPatchRequest2(TypedDict):
    """
    Examples, and what to change in the run of one of the prompts of each.

    Without `sets`, each part of a component is changed by itself: all of it at some layers and
    positions, or each head or neuron there. With `sets`, the parts of each set are changed at once.
    """

    clean: str | TokenIds | None
    corrupted: str | TokenIds | None
    answer: str | TokenId | None
    distractor: str | TokenId | None
    examples: NotRequired[list[CircuitExample] | None]
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    component: NotRequired[
        Literal[
            "residual",
            "attention",
            "mlp",
            "mlp_hidden",
            "head_output",
            "hook_resid_post",
            "hook_out",
            "hook_attn_out",
            "attn.hook_out",
            "hook_mlp_out",
            "mlp.hook_out",
            "mlp.hook_post",
            "attn.hook_z",
        ]
        | None
    ]
    method: NotRequired[Literal["activation_patching", "attribution_patching", "ablation"] | None]
    direction: NotRequired[Literal["denoising", "noising"] | None]
    ablation: NotRequired[CircuitAblation | None]
    layers: NotRequired[list[Layer] | None]
    heads: NotRequired[list[Head] | None]
    neurons: NotRequired[list[Neuron] | None]
    positions: NotRequired[Literal["all", "each"] | list[Position] | None]
    sets: NotRequired[list[Set] | None]


CircuitPatchRequest: TypeAlias = CircuitPatchRequest1 | CircuitPatchRequest2


class CircuitPathsRequest1(TypedDict):
    """
    Senders and receivers of path patching.
    """

    clean: NotRequired[str | TokenIds | None]
    corrupted: NotRequired[str | TokenIds | None]
    answer: NotRequired[str | TokenId | None]
    distractor: NotRequired[str | TokenId | None]
    examples: list[CircuitExample] | None
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    senders: list[Sender]
    receivers: list[Receiver]
    held: NotRequired[Literal["heads", "heads_and_mlps"] | None]


class CircuitPathsRequest2(TypedDict):
    """
    Senders and receivers of path patching.
    """

    clean: str | TokenIds | None
    corrupted: str | TokenIds | None
    answer: str | TokenId | None
    distractor: str | TokenId | None
    examples: NotRequired[list[CircuitExample] | None]
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    senders: list[Sender1]
    receivers: list[Receiver]
    held: NotRequired[Literal["heads", "heads_and_mlps"] | None]


CircuitPathsRequest: TypeAlias = CircuitPathsRequest1 | CircuitPathsRequest2


class CircuitPruneRequest1(TypedDict):
    """
    A circuit to be pruned edge by edge (Conmy et al. 2023).
    """

    clean: NotRequired[str | TokenIds | None]
    corrupted: NotRequired[str | TokenIds | None]
    answer: NotRequired[str | TokenId | None]
    distractor: NotRequired[str | TokenId | None]
    examples: list[CircuitExample] | None
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    threshold: float
    edges: NotRequired[list[EdgeSpec] | None]
    distance: NotRequired[Literal["kl", "score"] | None]


class CircuitPruneRequest2(TypedDict):
    """
    A circuit to be pruned edge by edge (Conmy et al. 2023).
    """

    clean: str | TokenIds | None
    corrupted: str | TokenIds | None
    answer: str | TokenId | None
    distractor: str | TokenId | None
    examples: NotRequired[list[CircuitExample] | None]
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    threshold: float
    edges: NotRequired[list[EdgeSpec] | None]
    distance: NotRequired[Literal["kl", "score"] | None]


CircuitPruneRequest: TypeAlias = CircuitPruneRequest1 | CircuitPruneRequest2


class CircuitVerifyRequest1(TypedDict):
    """
    A circuit, and the examples over which it is to do what the whole model does.
    """

    clean: NotRequired[str | TokenIds | None]
    corrupted: NotRequired[str | TokenIds | None]
    answer: NotRequired[str | TokenId | None]
    distractor: NotRequired[str | TokenId | None]
    examples: list[CircuitExample] | None
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    circuit: list[CircuitPart]
    ablation: NotRequired[CircuitAblation | None]
    subsets: NotRequired[int | None]
    seed: NotRequired[int | None]


class CircuitVerifyRequest2(TypedDict):
    """
    A circuit, and the examples over which it is to do what the whole model does.
    """

    clean: str | TokenIds | None
    corrupted: str | TokenIds | None
    answer: str | TokenId | None
    distractor: str | TokenId | None
    examples: NotRequired[list[CircuitExample] | None]
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    circuit: list[CircuitPart]
    ablation: NotRequired[CircuitAblation | None]
    subsets: NotRequired[int | None]
    seed: NotRequired[int | None]


CircuitVerifyRequest: TypeAlias = CircuitVerifyRequest1 | CircuitVerifyRequest2


class CompletionChoice(TypedDict):
    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: NotRequired[CompletionLogprobs | None]
    capture_id: NotRequired[str | None]


class ContinueSessionRequest(TypedDict):
    value: NotRequired[TensorValue | None]


class ContrastPair(TypedDict):
    """
    Two texts that differ in what is to be steered.
    """

    positive: str | TokenIds
    negative: str | TokenIds


class DebugChangeRequest(TypedDict):
    value: NotRequired[TensorValue | None]


class DebugForkRequest(TypedDict):
    value: NotRequired[TensorValue | None]
    top_k: NotRequired[int | None]


class DebugLens(TypedDict):
    """
    The likeliest next tokens, read from the residual stream as it is here.
    """

    session_id: str
    at: DebugPlace | None
    position: int
    top: list[TopToken]


class DebugState(TypedDict):
    warnings: NotRequired[list[str]]
    session_id: str
    model: str
    tokens: list[int]
    texts: list[str]
    state: Literal["stopped", "done"]
    at: DebugPlace | None
    layer: int | None
    shape: list[int]
    is_changed: bool
    changes: list[DebugPlace]
    top: list[TopToken]
    bytes: int
    seconds: float


class DetokenizeRequest(TypedDict):
    tokens: list[TokenId]
    model: NotRequired[str | None]


class EdgeFaithfulnessRequest1(TypedDict):
    """
    A ranking of edges, and how many of its first ones circuits keep.
    """

    clean: NotRequired[str | TokenIds | None]
    corrupted: NotRequired[str | TokenIds | None]
    answer: NotRequired[str | TokenId | None]
    distractor: NotRequired[str | TokenId | None]
    examples: list[CircuitExample] | None
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    edges: NotRequired[list[EdgeSpec] | None]
    sizes: NotRequired[list[Size] | None]
    random: NotRequired[int | None]
    seed: NotRequired[int | None]


class EdgeFaithfulnessRequest2(TypedDict):
    """
    A ranking of edges, and how many of its first ones circuits keep.
    """

    clean: str | TokenIds | None
    corrupted: str | TokenIds | None
    answer: str | TokenId | None
    distractor: str | TokenId | None
    examples: NotRequired[list[CircuitExample] | None]
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    edges: NotRequired[list[EdgeSpec] | None]
    sizes: NotRequired[list[Size] | None]
    random: NotRequired[int | None]
    seed: NotRequired[int | None]


EdgeFaithfulnessRequest: TypeAlias = EdgeFaithfulnessRequest1 | EdgeFaithfulnessRequest2


class Embeddings(TypedDict):
    warnings: NotRequired[list[str]]
    object: NotRequired[Literal["list"]]
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    layer: int | None
    pooling: Literal["mean", "last"]


class EmbeddingsRequest(TypedDict):
    input: str | TokenIds | list[InputItem] | list[TokenIds]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    layer: NotRequired[int | None]
    pooling: NotRequired[Literal["mean", "last"] | None]
    encoding_format: NotRequired[Literal["float", "base64"] | None]
    dimensions: NotRequired[int | None]
    user: NotRequired[str | None]


class FeatureExamples(TypedDict):
    warnings: NotRequired[list[str]]
    feature_set: str
    layer: int | None
    positions: int
    tokens: int
    resumed_tokens: int
    features: list[FeatureExamplesEntry]


class FeatureMetricsRequest(TypedDict):
    feature_set: str
    prompts: list[str | TokenIds]
    add_special_tokens: NotRequired[bool | None]
    exclude_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]


class ForkedLayer(TypedDict):
    layer: int
    distance: float
    last_distance: float
    divergence: float
    top: list[TopToken]


class GradientTarget(TypedDict):
    """
    A number of the logits at some positions: the mean over these positions.
    """

    kind: NotRequired[
        Literal["logit", "logit_difference", "log_probability", "probability", "loss"] | None
    ]
    tokens: NotRequired[list[str | TokenId] | None]
    against: NotRequired[list[str | TokenId] | None]
    positions: NotRequired[list[Position] | None]


class Gradients(TypedDict):
    """
    Gradients are per unit of activation, in units of the target.
    """

    warnings: NotRequired[list[str]]
    tokens: list[int]
    texts: list[str]
    score: float
    capture_id: str
    gradients: dict[str, list[ActivationRecord]]
    saliency: TokenSaliency
    integrated: IntegratedAttributions | None
    forward_passes: int
    backward_passes: int


class GraphInterventionOutcomes(TypedDict):
    warnings: NotRequired[list[str]]
    features: list[FeatureOutcome]
    logits: list[LogitOutcome]


class GraphInterventionRequest(TypedDict):
    """
    Features that are set to other activations, and what is looked at beside.
    """

    prompt: str | TokenIds
    feature_sets: NotRequired[list[FeatureSet] | None]
    skipped_positions: NotRequired[list[SkippedPosition] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    changes: list[FeatureActivation]
    features: NotRequired[list[FeaturePlace] | None]
    tokens: NotRequired[list[str | TokenId] | None]


class GraphMetadata(TypedDict):
    """
    What the graph is of.
    """

    slug: str
    scan: str
    transcoder_list: list[str]
    prompt_tokens: list[str]
    prompt: str
    node_threshold: float
    schema_version: Literal[1]
    info: dict[str, Any]
    generation_settings: dict[str, Any]
    pruning_settings: dict[str, Any]
    scores: GraphScores
    counts: GraphCounts


class HeadReading(TypedDict):
    id: int
    text: str
    most: list[TokenEffect]
    least: list[TokenEffect]


class HeadTokens(TypedDict):
    layer: int
    head: int
    circuit: Literal["OV", "QK"]
    score: float
    most: list[TokenEffect]
    least: list[TokenEffect]
    readings: list[HeadReading]
    notes: list[str]


class HeadTokensRequest(TypedDict):
    layer: int
    head: int
    circuit: Literal["OV", "QK"]
    tokens: NotRequired[list[str | TokenId] | None]
    top_k: NotRequired[int | None]
    model: NotRequired[str | None]


class HookSpec(TypedDict):
    """
    What to capture, and where.
    """

    layer_name: NotRequired[str | None]
    feature_set: NotRequired[str | None]
    features: NotRequired[list[Feature] | None]
    component: NotRequired[ComponentName | None]
    hook_id: NotRequired[str | None]
    capture_input: NotRequired[bool | None]
    capture_output: NotRequired[bool | None]
    positions: NotRequired[Literal["all", "prompt", "generated"] | list[Position] | None]
    heads: NotRequired[list[Head] | None]
    dtype: NotRequired[Literal["float32", "float16", "bfloat16"] | None]
    exclude_special_tokens: NotRequired[bool | None]


class InputCallOutput(TypedDict):
    """
    The result of a call.
    """

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputText]
    id: NotRequired[str | None]
    status: NotRequired[str | None]


class InputMessage(TypedDict):
    type: NotRequired[Literal["message"] | None]
    role: Literal["system", "user", "assistant", "developer"]
    content: str | list[InputText]
    id: NotRequired[str | None]
    status: NotRequired[str | None]


class InputReasoning(TypedDict):
    """
    What the model thought before: it goes before the message or the call that it led to.
    """

    type: Literal["reasoning"]
    content: NotRequired[list[ReasoningText] | None]
    summary: NotRequired[list[Any] | None]
    encrypted_content: NotRequired[None]
    id: NotRequired[str | None]
    status: NotRequired[str | None]


class IntegratedGradients(TypedDict):
    """
    Gradients integrated from a baseline to the prompt's embeddings.
    """

    steps: NotRequired[int | None]
    baseline: NotRequired[Literal["zero", "token", "prompt"] | None]
    token: NotRequired[str | TokenId | None]
    prompt: NotRequired[str | TokenIds | None]


class InterventionSpec(TypedDict):
    """
    A change made to an activation while the model runs.
    """

    layer_name: NotRequired[str | None]
    component: NotRequired[ComponentName | None]
    feature_set: NotRequired[str | None]
    features: NotRequired[list[Feature] | None]
    operation: Literal[
        "ablation",
        "mean",
        "scaling",
        "addition",
        "replacement",
        "patching",
        "projection",
        "noise",
        "splicing",
    ]
    heads: NotRequired[list[Head] | None]
    positions: NotRequired[Literal["all", "prompt", "generated"] | list[Position] | None]
    factor: NotRequired[float | None]
    value: NotRequired[TensorValue | None]
    capture_id: NotRequired[str | None]
    hook_id: NotRequired[str | None]
    step: NotRequired[int | None]
    scale: NotRequired[float | None]
    seed: NotRequired[int | None]


class JobEntry(TypedDict):
    job_id: str
    operation: str
    request_id: str
    state: Literal["waiting", "running"]
    created: float
    progress: JobProgress | None


class JobList(TypedDict):
    jobs: list[JobEntry]


class JsonSchemaFormat(TypedDict):
    """
    JSON that a schema allows.
    """

    type: Literal["json_schema"]
    json_schema: NamedSchema


class LensLayer(TypedDict):
    layer: int
    top: list[list[TopToken]]


class LogitAttributionRequest(TypedDict):
    prompt: str | TokenIds
    answer: str | TokenId
    distractor: NotRequired[str | TokenId | None]
    position: NotRequired[Position | None]
    by: NotRequired[Literal["layer", "component", "head", "neuron", "feature"] | None]
    feature_sets: NotRequired[list[FeatureSet] | None]
    top_k: NotRequired[int | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]


class LogitLens(TypedDict):
    warnings: NotRequired[list[str]]
    kind: Literal["logit", "tuned", "jacobian"]
    tokens: list[int]
    texts: list[str]
    layers: list[LensLayer]


class LogitLensRequest(TypedDict):
    prompt: str | TokenIds
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    lens: NotRequired[LensFile | None]
    top_k: NotRequired[int | None]


class NearestTokensRequest(TypedDict):
    token: str | TokenId
    top_k: NotRequired[int | None]
    model: NotRequired[str | None]


class OutputMessage(TypedDict):
    id: str
    type: NotRequired[Literal["message"]]
    role: NotRequired[Literal["assistant"]]
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class OutputReasoning(TypedDict):
    """
    What the model thought before it answered.
    """

    id: str
    type: NotRequired[Literal["reasoning"]]
    status: Literal["in_progress", "completed", "incomplete"]
    summary: NotRequired[list[Any]]
    content: list[OutputReasoningText]


class PromotedTokens(TypedDict):
    layer: int
    neuron: int
    expert: int | None
    promoted: list[TokenEffect]
    suppressed: list[TokenEffect]


class PrunedCircuit(TypedDict):
    """
    What is left of a circuit.
    """

    warnings: NotRequired[list[str]]
    edges: list[ScoredEdge]
    tried: int
    distance: float
    score: float
    clean_score: float
    corrupted_score: float


class RegisterHooksRequest(TypedDict):
    hooks: list[HookSpec]
    model: NotRequired[str | None]


class ResponseRequest(TypedDict):
    input: str | list[InputMessage | InputCall | InputCallOutput | InputReasoning]
    model: NotRequired[str | None]
    instructions: NotRequired[str | None]
    previous_response_id: NotRequired[str | None]
    store: NotRequired[bool | None]
    stream: NotRequired[bool | None]
    max_output_tokens: NotRequired[int | None]
    temperature: NotRequired[float | None]
    top_p: NotRequired[float | None]
    text: NotRequired[TextOptions | None]
    tools: NotRequired[list[FunctionTool] | None]
    tool_choice: NotRequired[Literal["none", "auto", "required"] | FunctionChoice | None]
    parallel_tool_calls: NotRequired[bool | None]
    truncation: NotRequired[Literal["disabled"] | None]
    metadata: NotRequired[dict[str, str] | None]
    user: NotRequired[str | None]


class SteeringEntry(TypedDict):
    """
    What steers a model.
    """

    steering_id: str
    vector: str
    model: str
    operation: Literal["addition", "ablation"]
    layers: list[SteeringStrength]
    of_layer: int | None
    positions: Literal["all", "prompt", "generated"]
    scope: Literal["server", "session"]


class SteeringList(TypedDict):
    steering: list[SteeringEntry]


class SteeringVectorRequest(TypedDict):
    pairs: list[ContrastPair]
    name: NotRequired[str | None]
    model: NotRequired[str | None]
    method: NotRequired[Literal["mean_difference", "pca", "pca_center"] | None]
    layers: NotRequired[list[Layer] | None]
    position: NotRequired[Position | Literal["mean"] | None]
    add_special_tokens: NotRequired[bool | None]


class TokenLogprob(TypedDict):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class TokenizeRequest(TypedDict):
    add_generation_prompt: NotRequired[bool | None]
    continue_final_message: NotRequired[bool | None]
    enable_thinking: NotRequired[bool | None]
    chat_template_kwargs: NotRequired[dict[str, Any] | None]
    text: NotRequired[str | None]
    messages: NotRequired[list[ChatMessage] | None]
    add_special_tokens: NotRequired[bool | None]
    single: NotRequired[bool | None]
    model: NotRequired[str | None]


class AttributionGraph(TypedDict):
    """
    A pruned graph, in the fields that Neuronpedia's viewer reads.
    """

    warnings: NotRequired[list[str]]
    metadata: GraphMetadata
    qParams: GraphView
    nodes: list[GraphNode]
    links: list[GraphLink]


class ChatCompletionRequest(TypedDict):
    model: NotRequired[str | None]
    max_tokens: NotRequired[int | None]
    temperature: NotRequired[float | None]
    top_p: NotRequired[float | None]
    top_k: NotRequired[int | None]
    min_p: NotRequired[float | None]
    seed: NotRequired[int | None]
    stop: NotRequired[StopString | list[StopString] | None]
    presence_penalty: NotRequired[float | None]
    frequency_penalty: NotRequired[float | None]
    repetition_penalty: NotRequired[float | None]
    logit_bias: NotRequired[dict[str, float] | None]
    stream: NotRequired[bool | None]
    stream_options: NotRequired[StreamOptions | None]
    draft_model: NotRequired[str | None]
    num_draft_tokens: NotRequired[int | None]
    n: NotRequired[int | None]
    best_of: NotRequired[int | None]
    user: NotRequired[str | None]
    add_generation_prompt: NotRequired[bool | None]
    continue_final_message: NotRequired[bool | None]
    enable_thinking: NotRequired[bool | None]
    chat_template_kwargs: NotRequired[dict[str, Any] | None]
    response_format: NotRequired[TextFormat | JsonObjectFormat | JsonSchemaFormat | None]
    structured_outputs: NotRequired[StructuredOutputs | None]
    tools: NotRequired[list[ToolSpec] | None]
    tool_choice: NotRequired[Literal["none", "auto", "required"] | NamedTool | None]
    parallel_tool_calls: NotRequired[bool | None]
    safety_identifier: NotRequired[str | None]
    prompt_cache_key: NotRequired[str | None]
    prompt_cache_retention: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]
    service_tier: NotRequired[Literal["auto", "default"] | None]
    store: NotRequired[Literal[False] | None]
    functions: NotRequired[list[Any] | None]
    function_call: NotRequired[Literal["none", "auto"] | None]
    modalities: NotRequired[list[Literal["text"]] | None]
    audio: NotRequired[None]
    prediction: NotRequired[None]
    web_search_options: NotRequired[None]
    reasoning_effort: NotRequired[None]
    verbosity: NotRequired[Literal["medium"] | None]
    suffix: NotRequired[Literal[""] | None]
    messages: list[ChatMessage]
    add_special_tokens: NotRequired[bool | None]
    max_completion_tokens: NotRequired[int | None]
    logprobs: NotRequired[bool | None]
    top_logprobs: NotRequired[int | None]
    echo: NotRequired[Literal[False] | None]


class ChatCompletionWithActivationsRequest(TypedDict):
    activation_hooks: NotRequired[list[HookSpec] | None]
    interventions: NotRequired[list[InterventionSpec] | None]
    activation_format: NotRequired[Literal["array", "base64", "metadata", "reference"] | None]
    model: NotRequired[str | None]
    max_tokens: NotRequired[int | None]
    temperature: NotRequired[float | None]
    top_p: NotRequired[float | None]
    top_k: NotRequired[int | None]
    min_p: NotRequired[float | None]
    seed: NotRequired[int | None]
    stop: NotRequired[StopString | list[StopString] | None]
    presence_penalty: NotRequired[float | None]
    frequency_penalty: NotRequired[float | None]
    repetition_penalty: NotRequired[float | None]
    logit_bias: NotRequired[dict[str, float] | None]
    stream: NotRequired[bool | None]
    stream_options: NotRequired[StreamOptions | None]
    draft_model: NotRequired[str | None]
    num_draft_tokens: NotRequired[int | None]
    n: NotRequired[int | None]
    best_of: NotRequired[int | None]
    user: NotRequired[str | None]
    add_generation_prompt: NotRequired[bool | None]
    continue_final_message: NotRequired[bool | None]
    enable_thinking: NotRequired[bool | None]
    chat_template_kwargs: NotRequired[dict[str, Any] | None]
    response_format: NotRequired[TextFormat | JsonObjectFormat | JsonSchemaFormat | None]
    structured_outputs: NotRequired[StructuredOutputs | None]
    tools: NotRequired[list[ToolSpec] | None]
    tool_choice: NotRequired[Literal["none", "auto", "required"] | NamedTool | None]
    parallel_tool_calls: NotRequired[bool | None]
    safety_identifier: NotRequired[str | None]
    prompt_cache_key: NotRequired[str | None]
    prompt_cache_retention: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]
    service_tier: NotRequired[Literal["auto", "default"] | None]
    store: NotRequired[Literal[False] | None]
    functions: NotRequired[list[Any] | None]
    function_call: NotRequired[Literal["none", "auto"] | None]
    modalities: NotRequired[list[Literal["text"]] | None]
    audio: NotRequired[None]
    prediction: NotRequired[None]
    web_search_options: NotRequired[None]
    reasoning_effort: NotRequired[None]
    verbosity: NotRequired[Literal["medium"] | None]
    suffix: NotRequired[Literal[""] | None]
    messages: list[ChatMessage]
    add_special_tokens: NotRequired[bool | None]
    max_completion_tokens: NotRequired[int | None]
    logprobs: NotRequired[bool | None]
    top_logprobs: NotRequired[int | None]
    echo: NotRequired[Literal[False] | None]


class ChatLogprobs(TypedDict):
    content: list[TokenLogprob]


class CircuitEdgesRequest1(TypedDict):
    """
    Examples over which all edges are scored.
    """

    clean: NotRequired[str | TokenIds | None]
    corrupted: NotRequired[str | TokenIds | None]
    answer: NotRequired[str | TokenId | None]
    distractor: NotRequired[str | TokenId | None]
    examples: list[CircuitExample] | None
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    method: NotRequired[Literal["eap", "eap_ig"] | None]
    steps: NotRequired[int | None]
    top_n: NotRequired[int | None]
    sources: NotRequired[list[Source] | None]
    destinations: NotRequired[list[Destination] | None]
    scores: NotRequired[Literal["none", "array", "safetensors"] | None]


class CircuitEdgesRequest2(TypedDict):
    """
    Examples over which all edges are scored.
    """

    clean: str | TokenIds | None
    corrupted: str | TokenIds | None
    answer: str | TokenId | None
    distractor: str | TokenId | None
    examples: NotRequired[list[CircuitExample] | None]
    pooling: NotRequired[Literal["mean", "logsumexp", "probability"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]
    method: NotRequired[Literal["eap", "eap_ig"] | None]
    steps: NotRequired[int | None]
    top_n: NotRequired[int | None]
    sources: NotRequired[list[Source] | None]
    destinations: NotRequired[list[Destination] | None]
    scores: NotRequired[Literal["none", "array", "safetensors"] | None]


CircuitEdgesRequest: TypeAlias = CircuitEdgesRequest1 | CircuitEdgesRequest2


class Completion(TypedDict):
    warnings: NotRequired[list[str]]
    steering: NotRequired[list[SteeringEntry]]
    id: str
    object: NotRequired[Literal["text_completion"]]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    stats: GenerationStats
    capture_id: NotRequired[str | None]


class CompletionRequest(TypedDict):
    model: NotRequired[str | None]
    max_tokens: NotRequired[int | None]
    temperature: NotRequired[float | None]
    top_p: NotRequired[float | None]
    top_k: NotRequired[int | None]
    min_p: NotRequired[float | None]
    seed: NotRequired[int | None]
    stop: NotRequired[StopString | list[StopString] | None]
    presence_penalty: NotRequired[float | None]
    frequency_penalty: NotRequired[float | None]
    repetition_penalty: NotRequired[float | None]
    logit_bias: NotRequired[dict[str, float] | None]
    stream: NotRequired[bool | None]
    stream_options: NotRequired[StreamOptions | None]
    draft_model: NotRequired[str | None]
    num_draft_tokens: NotRequired[int | None]
    n: NotRequired[int | None]
    best_of: NotRequired[int | None]
    user: NotRequired[str | None]
    response_format: NotRequired[TextFormat | JsonObjectFormat | JsonSchemaFormat | None]
    structured_outputs: NotRequired[StructuredOutputs | None]
    parallel_tool_calls: NotRequired[bool | None]
    tools: NotRequired[list[Any] | None]
    tool_choice: NotRequired[Literal["none", "auto"] | None]
    safety_identifier: NotRequired[str | None]
    prompt_cache_key: NotRequired[str | None]
    prompt_cache_retention: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]
    service_tier: NotRequired[Literal["auto", "default"] | None]
    store: NotRequired[Literal[False] | None]
    functions: NotRequired[list[Any] | None]
    function_call: NotRequired[Literal["none", "auto"] | None]
    modalities: NotRequired[list[Literal["text"]] | None]
    audio: NotRequired[None]
    prediction: NotRequired[None]
    web_search_options: NotRequired[None]
    reasoning_effort: NotRequired[None]
    verbosity: NotRequired[Literal["medium"] | None]
    suffix: NotRequired[Literal[""] | None]
    prompt: str | TokenIds | list[PromptItem] | list[TokenIds]
    add_special_tokens: NotRequired[bool | None]
    echo: NotRequired[bool | None]
    logprobs: NotRequired[int | None]


class CompletionSessionRequest(TypedDict):
    """
    A completion each of whose forward passes pauses: the prompt but its last token, that token,
    then each token that another follows. A pass begins before it is known whether its token ends
    the text, so the blocks may see one pass more than an early end needs.
    """

    breakpoints: list[BreakpointSpec]
    breakpoint_format: NotRequired[Literal["array", "base64"] | None]
    activation_hooks: NotRequired[list[HookSpec] | None]
    interventions: NotRequired[list[InterventionSpec] | None]
    activation_format: NotRequired[Literal["array", "base64", "metadata", "reference"] | None]
    model: NotRequired[str | None]
    max_tokens: NotRequired[int | None]
    temperature: NotRequired[float | None]
    top_p: NotRequired[float | None]
    top_k: NotRequired[int | None]
    min_p: NotRequired[float | None]
    seed: NotRequired[int | None]
    stop: NotRequired[StopString | list[StopString] | None]
    presence_penalty: NotRequired[float | None]
    frequency_penalty: NotRequired[float | None]
    repetition_penalty: NotRequired[float | None]
    logit_bias: NotRequired[dict[str, float] | None]
    stream: NotRequired[Literal[False] | None]
    stream_options: NotRequired[StreamOptions | None]
    draft_model: NotRequired[str | None]
    num_draft_tokens: NotRequired[int | None]
    n: NotRequired[int | None]
    best_of: NotRequired[int | None]
    user: NotRequired[str | None]
    response_format: NotRequired[TextFormat | JsonObjectFormat | JsonSchemaFormat | None]
    structured_outputs: NotRequired[StructuredOutputs | None]
    parallel_tool_calls: NotRequired[bool | None]
    tools: NotRequired[list[Any] | None]
    tool_choice: NotRequired[Literal["none", "auto"] | None]
    safety_identifier: NotRequired[str | None]
    prompt_cache_key: NotRequired[str | None]
    prompt_cache_retention: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]
    service_tier: NotRequired[Literal["auto", "default"] | None]
    store: NotRequired[Literal[False] | None]
    functions: NotRequired[list[Any] | None]
    function_call: NotRequired[Literal["none", "auto"] | None]
    modalities: NotRequired[list[Literal["text"]] | None]
    audio: NotRequired[None]
    prediction: NotRequired[None]
    web_search_options: NotRequired[None]
    reasoning_effort: NotRequired[None]
    verbosity: NotRequired[Literal["medium"] | None]
    suffix: NotRequired[Literal[""] | None]
    prompt: str | TokenIds
    add_special_tokens: NotRequired[bool | None]
    echo: NotRequired[Literal[False] | None]
    logprobs: NotRequired[int | None]


class CompletionWithActivations(TypedDict):
    warnings: NotRequired[list[str]]
    steering: NotRequired[list[SteeringEntry]]
    id: str
    object: NotRequired[Literal["text_completion"]]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    stats: GenerationStats
    capture_id: str
    activations: dict[str, list[ActivationRecord]]


class CompletionWithActivationsRequest(TypedDict):
    activation_hooks: NotRequired[list[HookSpec] | None]
    interventions: NotRequired[list[InterventionSpec] | None]
    activation_format: NotRequired[Literal["array", "base64", "metadata", "reference"] | None]
    model: NotRequired[str | None]
    max_tokens: NotRequired[int | None]
    temperature: NotRequired[float | None]
    top_p: NotRequired[float | None]
    top_k: NotRequired[int | None]
    min_p: NotRequired[float | None]
    seed: NotRequired[int | None]
    stop: NotRequired[StopString | list[StopString] | None]
    presence_penalty: NotRequired[float | None]
    frequency_penalty: NotRequired[float | None]
    repetition_penalty: NotRequired[float | None]
    logit_bias: NotRequired[dict[str, float] | None]
    stream: NotRequired[bool | None]
    stream_options: NotRequired[StreamOptions | None]
    draft_model: NotRequired[str | None]
    num_draft_tokens: NotRequired[int | None]
    n: NotRequired[int | None]
    best_of: NotRequired[int | None]
    user: NotRequired[str | None]
    response_format: NotRequired[TextFormat | JsonObjectFormat | JsonSchemaFormat | None]
    structured_outputs: NotRequired[StructuredOutputs | None]
    parallel_tool_calls: NotRequired[bool | None]
    tools: NotRequired[list[Any] | None]
    tool_choice: NotRequired[Literal["none", "auto"] | None]
    safety_identifier: NotRequired[str | None]
    prompt_cache_key: NotRequired[str | None]
    prompt_cache_retention: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]
    service_tier: NotRequired[Literal["auto", "default"] | None]
    store: NotRequired[Literal[False] | None]
    functions: NotRequired[list[Any] | None]
    function_call: NotRequired[Literal["none", "auto"] | None]
    modalities: NotRequired[list[Literal["text"]] | None]
    audio: NotRequired[None]
    prediction: NotRequired[None]
    web_search_options: NotRequired[None]
    reasoning_effort: NotRequired[None]
    verbosity: NotRequired[Literal["medium"] | None]
    suffix: NotRequired[Literal[""] | None]
    prompt: str | TokenIds
    add_special_tokens: NotRequired[bool | None]
    echo: NotRequired[bool | None]
    logprobs: NotRequired[int | None]


class DebugFork(TypedDict):
    """
    Two continuations of one pass, of which neither moves the session.
    """

    session_id: str
    divergence: float
    top: list[list[TopToken]]
    layers: list[ForkedLayer]


class DebugRequest(TypedDict):
    """
    A forward pass to be run in steps, with the changes of `interventions` at each run.
    """

    prompt: str | TokenIds
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    interventions: NotRequired[list[InterventionSpec] | None]


class Forward(TypedDict):
    warnings: NotRequired[list[str]]
    steering: NotRequired[list[SteeringEntry]]
    capture_id: str
    activations: dict[str, list[ActivationRecord]]
    tokens: list[list[int]]
    texts: list[list[str]]
    logits: ActivationRecord | None
    top: list[list[TopToken]]


class ForwardRequest(TypedDict):
    activation_hooks: NotRequired[list[HookSpec] | None]
    interventions: NotRequired[list[InterventionSpec] | None]
    activation_format: NotRequired[Literal["array", "base64", "metadata", "reference"] | None]
    prompt: NotRequired[str | TokenIds | list[TokenIds] | None]
    tokens: NotRequired[TokenIds | list[TokenIds] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    logits: NotRequired[Literal["last", "all", "none"] | None]
    top_k: NotRequired[int | None]


class ForwardSessionRequest(TypedDict):
    breakpoints: list[BreakpointSpec]
    breakpoint_format: NotRequired[Literal["array", "base64"] | None]
    activation_hooks: NotRequired[list[HookSpec] | None]
    interventions: NotRequired[list[InterventionSpec] | None]
    activation_format: NotRequired[Literal["array", "base64", "metadata", "reference"] | None]
    prompt: NotRequired[str | TokenIds | list[TokenIds] | None]
    tokens: NotRequired[TokenIds | list[TokenIds] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    logits: NotRequired[Literal["last", "all", "none"] | None]
    top_k: NotRequired[int | None]


class GradientsRequest(TypedDict):
    """
    A prompt, a target, and the values by which it is differentiated.
    """

    prompt: str | TokenIds
    target: GradientTarget
    hooks: NotRequired[list[HookSpec] | None]
    integrated: NotRequired[IntegratedGradients | None]
    activation_format: NotRequired[Literal["array", "base64", "metadata", "reference"] | None]
    add_special_tokens: NotRequired[bool | None]
    model: NotRequired[str | None]
    stream: NotRequired[bool | None]


class HookEntry(TypedDict):
    hook_id: str
    model: str
    spec: HookSpec


class HookList(TypedDict):
    hooks: list[HookEntry]


class ModelEntry(TypedDict):
    id: str
    object: NotRequired[Literal["model"]]
    created: int
    owned_by: str
    loaded: bool
    architecture: str | None
    layers: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    hidden_size: int | None
    vocab_size: int | None
    context_length: int | None
    max_position_embeddings: int | None
    intermediate_size: int | None
    quantization: str | None
    corrections: list[Correction]
    adapter: Adapter | None
    warnings: list[str]
    steering: NotRequired[list[SteeringEntry]]
    components: list[ComponentType]
    absent_layers: dict[ComponentType, list[int]]


class ModelList(TypedDict):
    object: NotRequired[Literal["list"]]
    data: list[ModelEntry]


class ModelResponse(TypedDict):
    warnings: NotRequired[list[str]]
    steering: NotRequired[list[SteeringEntry]]
    id: str
    object: NotRequired[Literal["response"]]
    created_at: int
    model: str
    status: Literal["in_progress", "completed", "incomplete"]
    incomplete_details: NotRequired[IncompleteDetails | None]
    error: NotRequired[None]
    instructions: str | None
    previous_response_id: str | None
    max_output_tokens: int | None
    temperature: float
    top_p: float
    parallel_tool_calls: bool
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice
    tools: list[FunctionTool]
    metadata: dict[str, str]
    store: bool
    output: list[OutputReasoning | OutputMessage | OutputCall]
    usage: NotRequired[ResponseUsage | None]


class SessionState(TypedDict):
    session_id: str
    state: Literal["paused", "done"]
    breakpoint: NotRequired[ActivationRecord | None]
    result: NotRequired[Forward | CompletionWithActivations | None]


class ChatChoice(TypedDict):
    index: int
    message: AssistantMessage
    finish_reason: Literal["stop", "length", "tool_calls"] | None
    logprobs: NotRequired[ChatLogprobs | None]
    capture_id: NotRequired[str | None]


class ChatCompletion(TypedDict):
    warnings: NotRequired[list[str]]
    steering: NotRequired[list[SteeringEntry]]
    id: str
    object: NotRequired[Literal["chat.completion"]]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    stats: GenerationStats
    capture_id: NotRequired[str | None]


class ChatCompletionWithActivations(TypedDict):
    warnings: NotRequired[list[str]]
    steering: NotRequired[list[SteeringEntry]]
    id: str
    object: NotRequired[Literal["chat.completion"]]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    stats: GenerationStats
    capture_id: str
    activations: dict[str, list[ActivationRecord]]
