"""The workflows that NeuroScope's documents describe run in an image as they stand there."""

import json
from pathlib import Path

import numpy as np
import pytest
from neuroscope import capture

from bridge.client import LMStudioNeuroScopeClient
from systems import System

CLEAN, CORRUPTED = "The dog ran to the park", "The cat ran to the park"
PREDICT = f"""
| model tokens probabilities top |
model := TransformerModel fromHuggingFace: 'smollm2'.
tokens := model tokenizer encode: '{CLEAN}'.
probabilities := (model forward: tokens) logits last softmax.
top := probabilities topK: 5.
NeuroScopePlatform current writeJson: {{
	(1 to: 5) collect: [:i | model tokenizer decode: {{(top at: #indices) at: i}}].
	(1 to: 5) collect: [:i | (top at: #values) at: i].
	probabilities sum}}
"""
INTERVENE = f"""
| model clean corrupted cleanActivations strength isOn baseline halved patched seen |
model := TransformerModel fromHuggingFace: 'smollm2'.
clean := model tokenizer encode: '{CLEAN}'.
corrupted := model tokenizer encode: '{CORRUPTED}'.
cleanActivations := (model runWithCaching: clean layers: #(5) components: #(#residual))
	cachedActivations.
strength := 0.5.
isOn := false.
model hookManager addHook: (InterventionHook new
	name: 'scale';
	layer: 6;
	condition: [:activation | isOn];
	action: [:activation | activation * strength];
	yourself).
baseline := (model forward: corrupted) logits last.
isOn := true.
halved := (model forward: corrupted) logits last.
model hookManager removeHook: 'scale'.
model hookManager addHook: (InterventionHook
	layer: 5
	component: #residual
	action: [:activation | cleanActivations at: 5 at: #residual]).
model hookManager addHook: (ActivationHook
	layer: 5
	component: #residual
	action: [:activation | seen := activation mean. activation]).
patched := (model forward: corrupted) logits last.
NeuroScopePlatform current writeJson: {{
	(baseline - halved) abs mean.
	(patched - (model forward: clean) logits last) abs max.
	(patched - baseline) abs mean.
	seen - (cleanActivations at: 5 -> #residual) mean}}
"""


def test_the_likeliest_next_tokens_come_with_their_probabilities(
    system: System, engine: LMStudioNeuroScopeClient, default_client: Path
) -> None:
    texts, values, total = json.loads(system.run(PREDICT, default_client))
    logits = capture(engine, CLEAN)["logits"][-1]
    powers = np.exp(logits - logits.max())
    order = np.argsort(-powers)[:5]
    expected = [top["text"] for top in engine.forward(CLEAN, top_k=5)["top"][0]]
    assert texts == expected
    assert values == pytest.approx(powers[order] / powers.sum(), rel=1e-4)
    assert total == pytest.approx(1, abs=1e-4)


def test_blocks_with_conditions_and_patches_change_the_pass(
    system: System, engine: LMStudioNeuroScopeClient, default_client: Path
) -> None:
    halved, apart, moved, seen = json.loads(system.run(INTERVENE, default_client))
    change = {"layer_name": "6", "component": "residual", "operation": "scaling", "factor": 0.5}
    plain = capture(engine, CORRUPTED)["logits"][-1]
    scaled = capture(engine, CORRUPTED, interventions=[change])["logits"][-1]
    assert halved == pytest.approx(np.abs(plain - scaled).mean(), rel=1e-3)
    assert apart == pytest.approx(0, abs=1e-3)
    assert moved > 0.01
    assert seen == pytest.approx(0, abs=1e-6)
