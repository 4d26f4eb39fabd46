"""A real model's activations in a real image: what Smalltalk reads is what Python reads."""

import numpy as np
import pytest

from bridge.client import LMStudioNeuroScopeClient
from bridge.neuroscope import NeuroScopeActivationBridge
from systems import System, answer

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
