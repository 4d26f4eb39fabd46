"""Circuits found in an image: effects, ranks and tests are those that Python works out."""

import json
from pathlib import Path

import numpy as np
import pytest
from neuroscope import IOI, IOI_CORRUPTED, ask, capture

from bridge.client import LMStudioNeuroScopeClient
from systems import System

EXAMPLE = (
    f"(NeuroScopeCircuitExample clean: '{IOI}' corrupted: '{IOI_CORRUPTED}' "
    "answer: ' Mary' distractor: ' John')"
)
HEADS = 9


def score(engine: LMStudioNeuroScopeClient, prompt: str, **options: object) -> float:
    """The logit difference at the last position."""
    logits = capture(engine, prompt, **options)["logits"][-1]
    mary, john = (engine.tokenize(name)["tokens"][0] for name in (" Mary", " John"))
    return logits[mary] - logits[john]


def patched_share(engine: LMStudioNeuroScopeClient, parts: list[tuple[int, int]]) -> float:
    """What heads bring back at once, by forward passes of Python's own."""
    layers = sorted({layer for layer, _ in parts})
    clean = capture(engine, IOI, *((layer, "head_output") for layer in layers))
    changes = []
    for layer in layers:
        heads = [head for place, head in parts if place == layer]
        value = clean[layer, "head_output"][:, heads]
        change = {"layer_name": str(layer), "component": "head_output", "heads": heads}
        tensor = {"shape": list(value.shape), "data": value.ravel().tolist()}
        changes.append(change | {"operation": "replacement", "value": tensor})
    base = score(engine, IOI_CORRUPTED)
    patched = score(engine, IOI_CORRUPTED, interventions=changes)
    return (patched - base) / (score(engine, IOI) - base)


def test_heads_are_named_in_the_order_of_their_effects(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    parts, confidence, essential, picture = ask(
        system,
        engine,
        "| circuit | circuit := (CircuitFinder for: model) findCircuitFor: 'names' "
        f"examples: {{{EXAMPLE}}} method: #attributionPatching threshold: 0.1;; "
        "{circuit components collect: [:each | {each layer. each index. each score}]. "
        "circuit confidence. circuit essentialComponents size. circuit visualize}",
    )
    reply = engine.patch_circuit(
        IOI, IOI_CORRUPTED, " Mary", " John", method="attribution_patching"
    )
    effects = np.array(reply["effects"]["data"])
    order = np.argsort(-effects.ravel(), kind="stable")
    expected = [divmod(int(i), HEADS) for i in order if effects.ravel()[i] >= 0.1]
    assert [(layer, head) for layer, head, _ in parts] == expected
    assert parts[0][:2] == [23, 3]
    assert [effect for *_, effect in parts] == pytest.approx(
        [effects[place] for place in expected], rel=1e-4
    )
    assert confidence == pytest.approx(patched_share(engine, expected), rel=1e-3)
    assert essential == sum(effects[p] * 2 >= effects[expected[0]] for p in expected)
    assert "L23H3" in picture


def test_mlps_are_ranked_by_activation_patching_and_by_ablation(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    patched, ablated, lost = ask(
        system,
        engine,
        "| finder | finder := CircuitFinder for: model;; finder component: #mlp;; "
        f"{{(finder componentsBy: #activationPatching over: {{{EXAMPLE}}}) "
        "collect: [:each | each layer]. "
        f"(finder componentsBy: #ablation over: {{{EXAMPLE}}}) collect: [:each | each score]. "
        f"(finder findCircuitFor: 'mlps' examples: {{{EXAMPLE}}} method: #ablation threshold: 0.5) "
        "confidence}",
    )

    def effects(method: str, direction: str) -> np.ndarray:
        options = {"component": "mlp", "method": method, "direction": direction}
        reply = engine.patch_circuit(IOI, IOI_CORRUPTED, " Mary", " John", **options)
        return np.array(reply["effects"]["data"])[:, 0]

    restored = effects("activation_patching", "denoising")
    gone = effects("ablation", "noising")
    assert patched == np.argsort(-restored, kind="stable").tolist()
    assert ablated == pytest.approx(np.sort(gone)[::-1], rel=1e-4, abs=1e-5)
    changes = [
        {"layer_name": str(layer), "component": "mlp", "operation": "ablation"}
        for layer in np.flatnonzero(gone >= 0.5)
    ]
    clean = score(engine, IOI)
    expected = (clean - score(engine, IOI, interventions=changes)) / (
        clean - score(engine, IOI_CORRUPTED)
    )
    assert lost == pytest.approx(expected, rel=1e-3)


def test_a_discovered_circuit_brings_back_what_was_asked_for(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    found, confidence, size, none, unknown = ask(
        system,
        engine,
        "| finder circuits examples | finder := CircuitFinder for: model;; "
        f"examples := {{{EXAMPLE}}};; circuits := finder discoverCircuitsFor: "
        "#indirectObjectIdentification usingDataset: examples withThreshold: 0.8;; "
        "{circuits first components collect: [:each | {each layer. each index}]. "
        "circuits first confidence. circuits size. "
        "(finder discoverCircuitsFor: #inductionHead usingDataset: examples withThreshold: 9) "
        "size. [finder discoverCircuitsFor: #telepathy withThreshold: 1] "
        "on: UnknownBehaviorTypeError do: [:error | error messageText]}",
    )
    parts = [tuple(place) for place in found]
    assert size == 1
    assert len(parts) in (1, 2, 4, 8, 16, 32)
    assert confidence >= 0.8
    assert confidence == pytest.approx(patched_share(engine, parts), rel=1e-3)
    assert none == 0
    assert "'inductionHead'" in unknown


def test_a_circuit_is_put_to_the_test(system: System, engine: LMStudioNeuroScopeClient) -> None:
    before, after, importance, restored, is_restored, parts, drop = ask(
        system,
        engine,
        "| finder circuit loss back | finder := CircuitFinder for: model;; "
        "circuit := Circuit name: 'names' components: {"
        "NeuroScopeCircuitComponent head: 3 layer: 23 score: 2. "
        "NeuroScopeCircuitComponent head: 1 layer: 29 score: 1} confidence: 1 evidence: 'given';; "
        f"loss := finder validateCircuitByAblation: circuit onDataset: {{{EXAMPLE}}} "
        "measureUsing: #behaviorLoss;; "
        f"back := finder validateCircuitByPatching: circuit sourceInput: '{IOI}' "
        f"corruptedInput: '{IOI_CORRUPTED}' patchingStrategy: #minimalSufficient;; "
        "{loss baseline. loss result. loss importanceScore. back restoredFraction. "
        "back behaviorRestored. back components size. "
        f"(finder validateCircuitByAblation: circuit onDataset: {{{EXAMPLE}}} "
        "measureUsing: #accuracyDrop) importanceScore}",
    )
    changes = [
        {"layer_name": str(layer), "component": "head_output", "heads": [head]}
        | {"operation": "ablation"}
        for layer, head in ((23, 3), (29, 1))
    ]
    clean, ablated = score(engine, IOI), score(engine, IOI, interventions=changes)
    assert (before, after) == pytest.approx((clean, ablated), rel=1e-4)
    assert importance == pytest.approx((clean - ablated) / clean, rel=1e-4)
    assert drop == (clean > 0) * 1 - (ablated > 0) * 1
    one = patched_share(engine, [(23, 3)])
    assert (parts == 1) == (one >= 0.5)
    both = patched_share(engine, [(23, 3), (29, 1)])
    assert restored == pytest.approx(one if parts == 1 else both, rel=1e-3)
    assert is_restored == (restored >= 0.5)


def test_a_data_set_comes_with_us_for_each_behaviour(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    examples = ask(
        system,
        engine,
        "((NeuroScopeCircuitDataset named: 'repeated-token-sequences' for: model) examples , "
        "(NeuroScopeCircuitDataset named: #indirectObjectIdentification for: model) examples) "
        "collect: [:each | | e | e := each tokensBy: model tokenizer. "
        "{e clean. e corrupted. e answer. e distractor}]",
    )
    assert len(examples) == 8
    for clean, corrupted, answer, distractor in examples:
        right, wrong = (capture(engine, tokens)["logits"][-1] for tokens in (clean, corrupted))
        assert right[answer] - right[distractor] > max(0, wrong[answer] - wrong[distractor])


WORKFLOW = """
| client messages hooks result activations analyzer circuits |
messages := Array with: (Dictionary new at: #role put: 'user'; at: #content put: 'Analyze this text'; yourself).
client := LMStudioRESTClient default. client loadModel: '/path/to/model'. hooks := client createCircuitAnalysisHooks: 3. result := client generateWithActivations: messages hooks: hooks. activations := client convertActivationsForNeuroScope: (result at: #activations). analyzer := CircuitFinder new. circuits := analyzer findCircuits: activations.
"""  # noqa: E501
OTHER_WORKFLOW = """
| client messages hooks result analyzer patterns |
messages := Array with: (Dictionary new at: #role put: 'user'; at: #content put: 'Hi'; yourself).
client := LMStudioRESTClient default. hooks := client createAttentionAnalysisHooks: 3.
result := client chatCompletionWithActivations: messages model: 'smollm2' hooks: hooks. analyzer := ActivationAnalyzer for: (result at: 'activations'). patterns := analyzer findAttentionPatterns.
"""  # noqa: E501


def test_a_candidate_of_the_first_workflow_has_its_shares_of_the_residual_stream(
    system: System, engine: LMStudioNeuroScopeClient, default_client: Path, smollm2_path: Path
) -> None:
    said = system.run(
        WORKFLOW.replace("/path/to/model", str(smollm2_path))
        + "NeuroScopePlatform current writeJson: {circuits size. circuits first confidence. "
        "circuits first evidence. (NeuroScopeResidualShares of: activations) components "
        "collect: [:each | {each name. each score}]}",
        default_client,
    )
    count, confidence, evidence, parts = json.loads(said)
    messages = [{"role": "user", "content": "Analyze this text"}]
    hooks = [
        {"layer_name": "0-2", "component": component, "hook_id": component}
        for component in ("attention", "mlp")
    ]
    hooks.append({"layer_name": "2", "component": "residual", "hook_id": "stream"})
    hooks.append({"layer_name": "wte", "component": "embedding", "hook_id": "embedding"})
    reply = engine.generate_with_activations(messages, hooks, activation_format="array")
    last = {
        hook_id: np.array([np.array(record["data"])[0, -1] for record in records])
        for hook_id, records in reply["activations"].items()
    }
    stream = last.pop("stream")
    expected = {
        name: float(np.mean((added * stream).sum(-1) / (stream * stream).sum(-1)))
        for name, added in last.items()
    }
    shares = {
        "embedding" if name == "embedding" else "{1}_layer_{0}".format(*name[1:].split()): share
        for name, share in parts
    }
    assert shares == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert count == 1
    average = np.mean(list(shares.values()))
    assert confidence == pytest.approx(sum(share for share in shares.values() if share > average))
    assert evidence.startswith("correlational")


def test_the_second_workflow_finds_attention_patterns(
    system: System, engine: LMStudioNeuroScopeClient, default_client: Path
) -> None:
    said = system.run(
        OTHER_WORKFLOW
        + "NeuroScopePlatform current writeJson: (patterns collect: [:each | each score])",
        default_client,
    )
    scores = json.loads(said)
    assert scores
    assert scores == sorted(scores, reverse=True)
    assert all(0.5 <= score <= 1.001 for score in scores)
