"""A real model's activations in a real image: what Smalltalk reads is what Python reads."""

import numpy as np
import pytest
from systems import System, answer

from bridge.client import LMStudioNeuroScopeClient
from bridge.neuroscope import NeuroScopeActivationBridge

PROMPT = "The capital of France is"
HOOK = '{{"layer_name": "5", "component": "{}", "dtype": "{}"}}'


TENSORS = "(c convertActivationsForNeuroScope: (r at: 'activations'))"


def client(engine: LMStudioNeuroScopeClient) -> str:
    return f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"


def test_each_forward_pass_has_the_numbers_that_python_reads(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    hooks = NeuroScopeActivationBridge.create_hook_specs_for_circuit_analysis(2)
    result = engine.generate_with_activations(PROMPT, hooks, max_tokens=3, temperature=0)
    expected = NeuroScopeActivationBridge.convert_activations_for_neuroscope(result["activations"])
    seen = answer(
        system,
        f"| c r | c := {client(engine)};; r := c generateWithActivations: '{PROMPT}' "
        "hooks: (c createCircuitAnalysisHooks: 2) maxTokens: 3 temperature: 0;; "
        "(c convertActivationsForNeuroScope: (r at: #activations)) "
        "collect: [:tensors | tensors collect: [:t | {t shape. t mean. t norm}]]",
    )
    assert seen.keys() == expected.keys()
    for hook_id, records in expected.items():
        for (shape, mean, norm), record in zip(seen[hook_id], records, strict=True):
            data = record["data"].astype(np.float64)
            assert shape == record["shape"]
            assert mean == pytest.approx(data.mean(), rel=1e-9, abs=1e-12)
            assert norm == pytest.approx(np.linalg.norm(data), rel=1e-9)


def test_a_safetensors_body_holds_the_numbers_of_base64(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    expression = (
        "| c hooks r | c := {};; hooks := {{c hookForLayer: 3 component: #attentionPattern}};; "
        "r := c forward: '{}' hooks: hooks options: "
        "(LMStudioRecord withAll: {{'activation_format' -> '{}'}});; "
        "(({} at: #'layer_3_attention_pattern') at: 1) data"
    )
    by_format = [
        answer(system, expression.format(client(engine), PROMPT, wire_format, TENSORS))
        for wire_format in ("base64", "reference", "array")
    ]
    assert by_format[0] == by_format[1] == by_format[2]
    assert len(by_format[0]) == 9 * 5 * 5


def test_many_hooks_are_fetched_as_one_body(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    record, shape = answer(
        system,
        f"| c r | c := {client(engine)};; "
        f"r := c forward: '{PROMPT}' hooks: (c createCircuitAnalysisHooks: 30);; "
        "{((r at: 'activations') at: 'layer_29_mlp') at: 1. "
        f"({TENSORS} at: 'layer_29_mlp') first shape}}",
    )
    assert record["tensor"]
    assert not record.get("data_base64")
    assert shape == [1, 5, 576]


def test_text_token_ids_and_messages_are_told_apart(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    tokens = engine.tokenize(PROMPT)["tokens"]
    answers = answer(
        system,
        f"| c hooks | c := {client(engine)};; "
        "hooks := {c hookForLayer: 0 component: #residual};; "
        f"{{(((c generateWithActivations: '{PROMPT}' hooks: hooks maxTokens: 2 temperature: 0) "
        "at: #choices) at: 1) at: #text. "
        f"(((c generateWithActivations: #({' '.join(map(str, tokens))}) hooks: hooks maxTokens: 2 "
        "temperature: 0) at: #choices) at: 1) at: #text. "
        "((((c generateWithActivations: {LMStudioRecord withAll: {'role' -> 'user'. 'content' -> "
        "'What is the capital of France?'}} hooks: hooks maxTokens: 8 temperature: 0) "
        "at: #choices) at: 1) at: #message) at: #content}",
    )
    assert answers[0].strip() == answers[1].strip() == "Paris."
    assert answers[2] == "The capital of France is Paris."


def test_a_refused_call_raises_the_servers_message(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    status, kind, message = answer(
        system,
        f"| c | c := {client(engine)};; "
        "[c forward: 'x' hooks: {c hookForLayer: 99 component: #residual}. #(1 2 3)] "
        "on: LMStudioUnprocessableError "
        "do: [:error | {error status. error type. error messageText}]",
    )
    assert (status, kind) == (422, "unknown_layer")
    assert "99" in message
    assert "0 to 29" in message


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        ("c loadModel: '/nowhere'", "LMStudioError", "nowhere"),
        ("c captureAt: 'none'", "LMStudioNotFoundError", "none"),
        ("c deleteHook: 'none'", "LMStudioNotFoundError", "none"),
        ("c forward: nil hooks: #()", "LMStudioBadRequestError", "prompt"),
        ("c complete: 'x' options: (c fields: {'top_p' -> 7})", "LMStudioError", "top_p"),
    ],
)
def test_bad_input_is_named_in_smalltalk_too(
    system: System, engine: LMStudioNeuroScopeClient, call: str, error: str, word: str
) -> None:
    caught = f"[{call}. 'nothing'] on: {error} do: [:error | error messageText]"
    assert word in answer(system, f"| c | c := {client(engine)};; {caught}")


def test_hooks_are_registered_listed_and_cleared(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    registered, listed, cleared, left = answer(
        system,
        f"| c ids listed cleared | c := {client(engine)};; "
        "ids := (c registerHooks: {c hookForLayer: 1 component: #mlp}) at: #'registered_hooks';; "
        "listed := ((c listHooks at: 'hooks') at: 1) at: 'hook_id';; "
        "cleared := c clearHooks at: 'removed_hooks';; "
        "{ids. listed. cleared. (c listHooks at: 'hooks') size}",
    )
    assert registered == cleared == ["layer_1_mlp"]
    assert (listed, left) == ("layer_1_mlp", 0)


def test_text_beyond_ascii_survives_the_way(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    text = "naïve café \U0001f600"
    literal = "".join(chr(c) if c < 128 else f"\\u{c:04x}" for c in _utf16(text))
    spoken = answer(
        system,
        f"| c text | c := {client(engine)};; "
        f"text := NeuroScopePlatform current readJson: '\"{literal}\"';; "
        "(c detokenize: ((c tokenize: text) at: 'tokens')) at: 'text'",
    )
    assert spoken == text


def _utf16(text: str) -> list[int]:
    units = text.encode("utf-16-le")
    return [units[i] + 256 * units[i + 1] for i in range(0, len(units), 2)]


def test_a_server_that_is_not_there_is_a_connection_error(system: System) -> None:
    caught = (
        "[(LMStudioRESTClient baseUrl: 'http://127.0.0.1:9') health. 'nothing'] "
        "on: LMStudioConnectionError do: [:error | error messageText]"
    )
    assert "no answer" in answer(system, caught)
