"""Every operation of the endpoint: route, schemas, and its selector in Smalltalk.

`smalltalk` contains method patterns: `forward: prompt hooks: activation_hooks` is the selector
`forward:hooks:` whose arguments are sent as the fields `prompt` and `activation_hooks` of the
request, or as the path or query parameters of those names. The first is the operation's own, the
others variants. The last keyword may bind `options`, a dictionary of any further fields.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.contract import schemas as s

QueryKind = type | re.Pattern[str]
"""What a query parameter is: a str, a whole number (int), or text that a pattern matches."""


@dataclass(frozen=True)
class Operation:
    """One route. `errors` are the statuses, beyond those of every operation, that it returns."""

    id: str
    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    smalltalk: tuple[str, ...]
    response: type[s.Response] | None = None  # None: not JSON
    request: type[s.Request] | None = None
    query: Mapping[str, tuple[QueryKind, str]] = field(default_factory=dict)
    media_type: str = "application/json"
    streams: Literal["parts", "progress"] | None = None  # as events, when the request says stream
    errors: tuple[int, ...] = ()


OF_MODEL = {"model": (str, "Only this model's hooks; default: those of all models.")}
TOKEN_LIST = re.compile(r"^[0-9]{1,9}(,[0-9]{1,9})*$")
OF_WEIGHT: dict[str, tuple[QueryKind, str]] = {
    "layer": (int, "The layer; none for W_E, W_pos, W_U and b_U."),
    "head": (int, "One head: a key-value head of W_K, W_V and their biases, else a query head."),
    "expert": (int, "One expert, where the layer has several in the place of one MLP."),
    "neuron": (int, "One neuron: a column of W_in and W_gate, a row of W_out."),
    "tokens": (
        TOKEN_LIST,
        "Only these tokens' rows of W_E, columns of W_U: ids with commas between.",
    ),
}
GENERATION_ERRORS = (400, 404, 409, 413, 422, 503, 507)
DEBUG_ERRORS = (400, 404, 409, 410, 413, 422, 503, 507)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "health",
        "get",
        "/health",
        "Say whether the server and its generation thread answer.",
        ("health",),
        s.Health,
    ),
    Operation(
        "metrics",
        "get",
        "/metrics",
        "Answer what the server has done and is doing, in Prometheus' text format.",
        ("metrics",),
        media_type="text/plain",
    ),
    Operation(
        "openapi",
        "get",
        "/openapi.json",
        "Answer this document.",
        ("openApiDocument",),
    ),
    Operation(
        "listModels",
        "get",
        "/v1/models",
        "List the models that the server has loaded.",
        ("listModels",),
        s.ModelList,
    ),
    Operation(
        "retrieveModel",
        "get",
        "/v1/models/{model_id}",
        "Describe one model that the server has loaded.",
        ("retrieveModel: model_id",),
        s.ModelEntry,
        errors=(404,),
    ),
    Operation(
        "listWeights",
        "get",
        "/v1/models/{model_id}/weights",
        "List a model's weights by the field's names with their shapes, and why others are absent.",
        ("listWeights: model_id",),
        s.WeightList,
        errors=(404, 503),
    ),
    Operation(
        "readWeight",
        "get",
        "/v1/models/{model_id}/weights/{name}",
        "Read a weight, dequantised to float32, as one safetensors body: under its own name, or A "
        "and B, the factors of the circuits OV and QK of a head.",
        (
            "readWeight: name model: model_id",
            "readWeight: name model: model_id layer: layer",
            "readWeight: name model: model_id layer: layer head: head",
            "readWeight: name model: model_id options: options",
        ),
        media_type="application/octet-stream",
        query=OF_WEIGHT,
        errors=(400, 404, 422, 503, 507),
    ),
    Operation(
        "loadModel",
        "post",
        "/v1/models/load",
        "Load a model from a folder or a hub id.",
        ("loadModel: model_path", "loadModel: model_path options: options"),
        s.ModelEntry,
        s.LoadModelRequest,
        errors=(400, 404, 413, 422, 503),
    ),
    Operation(
        "unloadModel",
        "post",
        "/v1/models/unload",
        "Unload a model and free its memory.",
        ("unloadModel: model",),
        s.UnloadModelResponse,
        s.UnloadModelRequest,
        errors=(400, 404, 413, 503),
    ),
    Operation(
        "tokenize",
        "post",
        "/v1/tokenize",
        "Turn text or chat messages into token ids.",
        (
            "tokenize: text",
            "tokenize: text model: model",
            "tokenize: text options: options",
            "tokenizeMessages: messages",
            "tokenizeMessages: messages options: options",
        ),
        s.TokenizeResponse,
        s.TokenizeRequest,
        errors=(400, 404, 413, 422),
    ),
    Operation(
        "detokenize",
        "post",
        "/v1/detokenize",
        "Turn token ids into text.",
        (
            "detokenize: tokens",
            "detokenize: tokens model: model",
            "detokenize: tokens options: options",
        ),
        s.DetokenizeResponse,
        s.DetokenizeRequest,
        errors=(400, 404, 413, 422),
    ),
    Operation(
        "createCompletion",
        "post",
        "/v1/completions",
        "Continue a prompt.",
        (
            "complete: prompt",
            "complete: prompt maxTokens: max_tokens temperature: temperature",
            "complete: prompt options: options",
        ),
        s.Completion,
        s.CompletionRequest,
        streams="parts",
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "createChatCompletion",
        "post",
        "/v1/chat/completions",
        "Answer chat messages.",
        (
            "chatCompletion: messages",
            "chatCompletion: messages model: model",
            "chatCompletion: messages options: options",
        ),
        s.ChatCompletion,
        s.ChatCompletionRequest,
        streams="parts",
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "createCompletionWithActivations",
        "post",
        "/v1/completions/with_activations",
        "Continue a prompt and capture activations at each forward pass.",
        (
            "completionWithActivations: prompt hooks: activation_hooks",
            "completionWithActivations: prompt hooks: activation_hooks options: options",
        ),
        s.CompletionWithActivations,
        s.CompletionWithActivationsRequest,
        streams="parts",
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "createChatCompletionWithActivations",
        "post",
        "/v1/chat/completions/with_activations",
        "Answer chat messages and capture activations at each forward pass.",
        (
            "chatCompletionWithActivations: messages hooks: activation_hooks",
            "chatCompletionWithActivations: messages model: model hooks: activation_hooks",
            "chatCompletionWithActivations: messages hooks: activation_hooks options: options",
        ),
        s.ChatCompletionWithActivations,
        s.ChatCompletionWithActivationsRequest,
        streams="parts",
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "forward",
        "post",
        "/v1/forward",
        "Run one forward pass and capture activations; nothing is sampled.",
        (
            "forward: prompt hooks: activation_hooks",
            "forward: prompt",
            "forward: prompt options: options",
            "forward: prompt hooks: activation_hooks options: options",
        ),
        s.Forward,
        s.ForwardRequest,
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "createResponse",
        "post",
        "/v1/responses",
        "Answer a user, or messages, in a conversation that the server keeps.",
        ("respondTo: input", "respondTo: input previous: previous_response_id"),
        s.ModelResponse,
        s.ResponseRequest,
        streams="parts",
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "createEmbeddings",
        "post",
        "/v1/embeddings",
        "Answer a vector for each text: a layer's residual stream, pooled over its positions.",
        ("embeddingsOf: input", "embeddingsOf: input layer: layer pooling: pooling"),
        s.Embeddings,
        s.EmbeddingsRequest,
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "logitLens",
        "post",
        "/v1/logit_lens",
        "Answer what each layer's residual stream would predict at each position.",
        (
            "logitLens: prompt",
            "logitLens: prompt topK: top_k",
            "logitLens: prompt options: options",
        ),
        s.LogitLens,
        s.LogitLensRequest,
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "promotedTokens",
        "post",
        "/v1/neurons/tokens",
        "Answer which tokens a neuron promotes and suppresses, by its output weights.",
        (
            "promotedTokens: neuron layer: layer",
            "promotedTokens: neuron layer: layer options: options",
        ),
        s.PromotedTokens,
        s.PromotedTokensRequest,
        errors=(400, 404, 413, 422, 503),
    ),
    Operation(
        "patchCircuit",
        "post",
        "/v1/circuits/patch",
        "Measure how much each head, each neuron, or each layer at each position, or each set of "
        "such parts, matters to an answer.",
        (
            "patchCircuit: clean corrupted: corrupted answer: answer distractor: distractor",
            "patchCircuit: clean corrupted: corrupted answer: answer distractor: distractor "
            "options: options",
            "patchCircuitOver: examples",
            "patchCircuitOver: examples options: options",
        ),
        s.CircuitEffects,
        s.CircuitPatchRequest,
        streams="progress",
        errors=(400, 404, 413, 422, 503, 507),
    ),
    Operation(
        "verifyCircuit",
        "post",
        "/v1/circuits/verify",
        "Measure whether a circuit does what the whole model does, and needs all of its parts.",
        (
            "verifyCircuit: circuit over: examples",
            "verifyCircuit: circuit over: examples options: options",
        ),
        s.CircuitVerification,
        s.CircuitVerifyRequest,
        streams="progress",
        errors=(400, 404, 413, 422, 503, 507),
    ),
    Operation(
        "attributionGraph",
        "post",
        "/v1/attribution_graphs",
        "Measure which features, tokens and errors made the likeliest next tokens, and which made "
        "these, with transcoders in the place of MLPs.",
        (
            "attributionGraph: prompt",
            "attributionGraph: prompt options: options",
        ),
        s.AttributionGraph,
        s.AttributionGraphRequest,
        streams="progress",
        errors=(400, 404, 413, 422, 503, 507),
    ),
    Operation(
        "changeGraphFeatures",
        "post",
        "/v1/attribution_graphs/interventions",
        "Measure what becomes of features and logits when features of a prompt are set to other "
        "activations, beside what the attribution graph predicts.",
        (
            "changeGraphFeatures: changes of: prompt",
            "changeGraphFeatures: changes of: prompt options: options",
        ),
        s.GraphInterventionOutcomes,
        s.GraphInterventionRequest,
        errors=(400, 404, 413, 422, 503, 507),
    ),
    Operation(
        "beginForwardSession",
        "post",
        "/v1/sessions",
        "Run a forward pass to its first breakpoint, whose value may be changed before it "
        "continues. One session at a time; a breakpoint is given up, and its pass, after a minute.",
        (
            "beginForwardSession: prompt breakpoints: breakpoints",
            "beginForwardSession: prompt breakpoints: breakpoints options: options",
        ),
        s.SessionState,
        s.ForwardSessionRequest,
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "beginCompletionSession",
        "post",
        "/v1/completions/with_breakpoints",
        "Continue a prompt in a session, which pauses in each of its forward passes.",
        (
            "beginCompletionSession: prompt breakpoints: breakpoints",
            "beginCompletionSession: prompt breakpoints: breakpoints options: options",
        ),
        s.SessionState,
        s.CompletionSessionRequest,
        errors=GENERATION_ERRORS,
    ),
    Operation(
        "continueSession",
        "post",
        "/v1/sessions/{session_id}",
        "Go on, with another value or as it is, to the next breakpoint or the end.",
        (
            "continueSession: session_id value: value",
            "continueSession: session_id",
            "continueSession: session_id options: options",
        ),
        s.SessionState,
        s.ContinueSessionRequest,
        errors=(400, 404, 409, 410, 413, 422, 503, 507),
    ),
    Operation(
        "keepSession",
        "post",
        "/v1/sessions/{session_id}/keep",
        "Let a session that is paused wait from now on for as long as it does at first: a client "
        "that is still at work, or whose user is, says so.",
        ("keepSession: session_id",),
        s.KeptSession,
        errors=(404, 409, 410),
    ),
    Operation(
        "cancelSession",
        "delete",
        "/v1/sessions/{session_id}",
        "Give up a session that is paused.",
        ("cancelSession: session_id",),
        s.CancelledSession,
        errors=(404, 410),
    ),
    Operation(
        "beginDebugSession",
        "post",
        "/v1/debug_sessions",
        "Begin a forward pass in steps, stopped before its first layer.",
        (
            "beginDebugSession: prompt",
            "beginDebugSession: prompt options: options",
        ),
        s.DebugState,
        s.DebugRequest,
        errors=(400, 404, 413, 422, 503, 507),
    ),
    Operation(
        "describeDebugSession",
        "get",
        "/v1/debug_sessions/{session_id}",
        "Say where a pass in steps is, and keep it.",
        ("describeDebugSession: session_id",),
        s.DebugState,
        errors=(404, 409, 410, 503),
    ),
    Operation(
        "stepDebugSession",
        "post",
        "/v1/debug_sessions/{session_id}/step",
        "Go on with a pass: to the next layer, the next value, a place ahead, or the end.",
        (
            "stepDebugSession: session_id to: to",
            "stepDebugSession: session_id layer: layer_name component: component",
            "stepDebugSession: session_id options: options",
        ),
        s.DebugState,
        s.DebugStepRequest,
        errors=DEBUG_ERRORS,
    ),
    Operation(
        "restartDebugSession",
        "post",
        "/v1/debug_sessions/{session_id}/restart",
        "Go back to where a layer begins: the residual stream that enters it was kept, and what "
        "was changed behind it is forgotten.",
        ("restartDebugSession: session_id layer: layer",),
        s.DebugState,
        s.DebugRestartRequest,
        errors=DEBUG_ERRORS,
    ),
    Operation(
        "readDebugSession",
        "get",
        "/v1/debug_sessions/{session_id}/value",
        "Read the value where a pass is stopped; at its end the logits of the last position.",
        (
            "readDebugSession: session_id",
            "readDebugSession: session_id position: position",
            "readDebugSession: session_id options: options",
        ),
        s.ActivationRecord,
        query={"position": (int, "Only this position, from 0. Default: all.")},
        errors=(400, 404, 409, 410, 422, 503),
    ),
    Operation(
        "changeDebugSession",
        "post",
        "/v1/debug_sessions/{session_id}/value",
        "Replace the value where a pass is stopped, or without a value put the model's own back.",
        (
            "changeDebugSession: session_id value: value",
            "changeDebugSession: session_id",
            "changeDebugSession: session_id options: options",
        ),
        s.DebugState,
        s.DebugChangeRequest,
        errors=DEBUG_ERRORS,
    ),
    Operation(
        "debugLogitLens",
        "get",
        "/v1/debug_sessions/{session_id}/logit_lens",
        "Read the likeliest next tokens from the residual stream where a pass is stopped.",
        (
            "debugLogitLens: session_id",
            "debugLogitLens: session_id position: position topK: top_k",
            "debugLogitLens: session_id options: options",
        ),
        s.DebugLens,
        query={
            "position": (int, "At this position, from 0. Default: the last."),
            "top_k": (int, "How many tokens, at most 100. Default: 10."),
        },
        errors=(400, 404, 409, 410, 422, 503, 507),
    ),
    Operation(
        "forkDebugSession",
        "post",
        "/v1/debug_sessions/{session_id}/fork",
        "Compare two continuations of a pass, layer by layer and at the end.",
        (
            "forkDebugSession: session_id value: value",
            "forkDebugSession: session_id",
            "forkDebugSession: session_id options: options",
        ),
        s.DebugFork,
        s.DebugForkRequest,
        errors=DEBUG_ERRORS,
    ),
    Operation(
        "endDebugSession",
        "delete",
        "/v1/debug_sessions/{session_id}",
        "End a debug session, and free what is kept for it.",
        ("endDebugSession: session_id",),
        s.EndedDebugSession,
        errors=(404, 410),
    ),
    Operation(
        "listJobs",
        "get",
        "/v1/jobs",
        "List what is being worked on, and what waits.",
        ("listJobs",),
        s.JobList,
    ),
    Operation(
        "cancelJob",
        "delete",
        "/v1/jobs/{job_id}",
        "Cancel a job; its own client is told.",
        ("cancelJob: job_id",),
        s.CancelledJob,
        errors=(404,),
    ),
    Operation(
        "registerHooks",
        "post",
        "/v1/activations/hooks",
        "Register hooks that capture on every later generation of a model.",
        (
            "registerHooks: hooks",
            "registerHooks: hooks model: model",
            "registerHooks: hooks options: options",
        ),
        s.RegisteredHooks,
        s.RegisterHooksRequest,
        errors=(400, 404, 409, 413, 422),
    ),
    Operation(
        "listHooks",
        "get",
        "/v1/activations/hooks",
        "List the registered hooks.",
        ("listHooks", "listHooksOptions: options"),
        s.HookList,
        query=OF_MODEL,
        errors=(400, 404),
    ),
    Operation(
        "deleteHooks",
        "delete",
        "/v1/activations/hooks",
        "Remove all registered hooks.",
        ("deleteHooks", "deleteHooksOptions: options"),
        s.RemovedHooks,
        query=OF_MODEL,
        errors=(400, 404),
    ),
    Operation(
        "deleteHook",
        "delete",
        "/v1/activations/hooks/{hook_id}",
        "Remove one registered hook.",
        ("deleteHook: hook_id", "deleteHook: hook_id options: options"),
        s.RemovedHooks,
        query=OF_MODEL,
        errors=(400, 404),
    ),
    Operation(
        "clearHooks",
        "post",
        "/v1/activations/hooks/clear",
        "Remove all registered hooks, for clients that cannot send DELETE.",
        ("clearHooks", "clearHooksOptions: options"),
        s.RemovedHooks,
        query=OF_MODEL,
        errors=(400, 404),
    ),
    Operation(
        "listCaptures",
        "get",
        "/v1/activations",
        "List the captures that are kept.",
        ("listCaptures",),
        s.CaptureList,
    ),
    Operation(
        "getCapture",
        "get",
        "/v1/activations/{capture_id}",
        "Describe one capture that is kept.",
        ("captureAt: capture_id",),
        s.CaptureManifest,
        errors=(404,),
    ),
    Operation(
        "deleteCapture",
        "delete",
        "/v1/activations/{capture_id}",
        "Forget one capture.",
        ("deleteCapture: capture_id",),
        s.ForgottenCapture,
        errors=(404,),
    ),
    Operation(
        "getTensors",
        "get",
        "/v1/activations/{capture_id}/tensors",
        "Answer a capture's tensors as one safetensors body.",
        (
            "tensorsAt: capture_id",
            "tensorsAt: capture_id hook: hook_id step: step",
            "tensorsAt: capture_id options: options",
        ),
        media_type="application/octet-stream",
        query={
            "hook_id": (str, "Only this hook's tensors."),
            "step": (int, "Only this step's tensors."),
        },
        errors=(400, 404),
    ),
)
