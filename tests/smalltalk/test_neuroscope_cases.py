"""Circuits over cases, and experiments on two texts, against Python's own forward passes."""

import numpy as np
import pytest
from neuroscope import ask, capture

from bridge.client import LMStudioNeuroScopeClient
from systems import System

CASES = {"The capital of France is": "Paris", "Two plus two is": "four"}
TEXTS = ("The capital of Italy is", "Paris is the capital of", "One two three four")
HEADS = ((5, 1), (23, 3), (29, 1))
CLEAN, CHANGED = "The cat sat on the mat", "The dog sat on the mat"


def head_ablation(heads: tuple[tuple[int, int], ...]) -> list[dict]:
    return [
        {"layer_name": str(layer), "component": "head_output", "heads": [head]}
        | {"operation": "ablation"}
        for layer, head in heads
    ]


def mlp_ablation(*layers: int) -> list[dict]:
    return [
        {"layer_name": str(layer), "component": "mlp", "operation": "ablation"} for layer in layers
    ]


def last_logits(engine: LMStudioNeuroScopeClient, text: str, **options: object) -> np.ndarray:
    return capture(engine, text, **options)["logits"][-1]


def compared(engine: LMStudioNeuroScopeClient, text: str, expected: str | None) -> tuple[int, int]:
    """The answer of a case, and the likeliest other token."""
    first, second = np.argsort(-last_logits(engine, text))[:2].tolist()
    answer = first if expected is None else engine.tokenize(f" {expected}")["tokens"][0]
    return answer, second if answer == first else first


def weakened(
    engine: LMStudioNeuroScopeClient, text: str, expected: str | None, changes: list[dict]
) -> bool:
    answer, other = compared(engine, text, expected)
    before = last_logits(engine, text)
    after = last_logits(engine, text, interventions=changes)
    return bool(after[answer] - after[other] < before[answer] - before[other])


@pytest.fixture(scope="module")
def losses(engine: LMStudioNeuroScopeClient) -> np.ndarray:
    """The logits that each layer's mlp is worth, in the mean over the cases."""
    found = []
    for text, word in CASES.items():
        tokens = engine.tokenize(text)["tokens"]
        reply = engine.patch_circuit(
            tokens,
            tokens[::-1],
            *compared(engine, text, word),
            component="mlp",
            method="ablation",
            direction="noising",
        )
        scale = reply["clean_score"] - reply["corrupted_score"]
        found.append(np.array(reply["effects"]["data"])[:, 0] * scale)
    return np.mean(found, 0)


def test_a_circuit_is_found_over_cases(
    system: System, engine: LMStudioNeuroScopeClient, losses: np.ndarray
) -> None:
    cases = " ".join(
        f"(Dictionary new at: 'input' put: '{text}'; at: 'expected' put: '{word}'; yourself)."
        for text, word in CASES.items()
    )
    name, parts, confidence, pathway, exported, none = ask(
        system,
        engine,
        f"| finder cases circuit | cases := {{{cases}}};; "
        "finder := CircuitFinder new model: model; targetBehavior: 'facts'; searchDepth: 2; "
        "confidenceThreshold: 0; component: #mlp; yourself;; "
        "circuit := (finder discoverCircuits: cases) first;; "
        "{circuit name. circuit components collect: [:each | "
        "{each layer. each componentType. each neurons. each score}]. circuit confidence. "
        "circuit pathway collect: [:each | {each source. each target. each strength}]. "
        "finder exportCircuit: circuit. "
        "(finder confidenceThreshold: 1.1; discoverCircuits: #('One two')) size}",
    )
    layers = np.argsort(-losses)[:2].tolist()
    assert name == "facts"
    assert [part[:3] for part in parts] == [[layer, "mlp", 576] for layer in layers]
    assert [part[3] for part in parts] == pytest.approx(losses[layers], rel=1e-3)
    changes = mlp_ablation(*layers)
    shares = [weakened(engine, text, word, changes) for text, word in CASES.items()]
    assert confidence == np.mean(shares)
    early, late = sorted(layers)
    ((source, target, strength),) = pathway
    assert (source, target) == (f"L{early} mlp", f"L{late} mlp")
    assert strength == pytest.approx(
        np.mean([moved(engine, text, (late, "mlp"), mlp_ablation(early)) for text in CASES]),
        rel=1e-3,
    )
    assert exported["pathway"] == [{"source": source, "target": target, "strength": strength}]
    assert [part["name"] for part in exported["components"]] == [f"L{n} mlp" for n in layers]
    assert none == 0


def moved(
    engine: LMStudioNeuroScopeClient,
    text: str,
    place: tuple[int, str],
    changes: list[dict],
    head: int | None = None,
) -> float:
    """How much of what a place puts out changes: the norm of the change beside the norm."""
    before, after = (
        capture(engine, text, place, **options)[place]
        for options in ({}, {"interventions": changes})
    )
    if head is not None:
        before, after = before[:, head], after[:, head]
    return float(np.linalg.norm(after - before) / np.linalg.norm(before))


def test_heads_are_connected_as_strongly_as_the_later_one_changes(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    parts = " ".join(
        f"(NeuroScopeCircuitComponent head: {h} layer: {n} score: 1)." for n, h in HEADS
    )
    text = TEXTS[0]
    found = ask(
        system,
        engine,
        f"((NeuroScopeCircuitDiscovery on: #('{text}') model: model component: #headOutput) "
        f"connectionsAmong: {{{parts} NeuroScopeCircuitComponent head: 4 layer: 29 score: 1}}) "
        "collect: [:each | {each source. each target. each strength}]",
    )
    pairs = [
        (source, target)
        for source in HEADS
        for target in (*HEADS, (29, 4))
        if source[0] < target[0]
    ]
    names = [[f"L{layer}H{head}" for layer, head in pair] for pair in pairs]
    assert [each[:2] for each in found] == names
    assert [strength for *_, strength in found] == pytest.approx(
        [
            moved(engine, text, (target[0], "head_output"), head_ablation((source,)), target[1])
            for source, target in pairs
        ],
        rel=1e-3,
    )
    assert all(strength > 0 for *_, strength in found)


def test_a_circuit_is_tried_on_texts(system: System, engine: LMStudioNeuroScopeClient) -> None:
    parts = " ".join(
        f"(NeuroScopeCircuitComponent head: {h} layer: {n} score: 1)." for n, h in HEADS
    )
    texts = " ".join(f"'{text}'" for text in TEXTS)
    name, accuracy, successful, total = ask(
        system,
        engine,
        f"| finder trial | finder := CircuitFinder for: model;; "
        f"trial := (finder validateCircuits: {{Circuit name: 'heads' components: {{{parts}}} "
        f"confidence: 1 evidence: 'given'}} withCases: #({texts})) first;; "
        "{trial circuit name. trial accuracy. trial successfulCases. trial totalCases}",
    )
    changes = head_ablation(HEADS)
    expected = [text for text in TEXTS if weakened(engine, text, None, changes)]
    assert name == "heads"
    assert successful == expected
    assert accuracy == pytest.approx(len(expected) / len(TEXTS))
    assert total == len(TEXTS)


def test_an_experiment_measures_what_a_place_carries(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    texts, mean, divergence, hooks = ask(
        system,
        engine,
        "| experiment mean divergence | experiment := InterventionExperiment new model: model; "
        f"baselineText: '{CLEAN}'; interventionText: '{CHANGED}'; "
        "targetMetric: #logitDifference; yourself;; "
        "mean := experiment effectAt: 6 component: #attention;; "
        "experiment targetMetric: #klDivergence;; "
        "divergence := experiment effectAt: 6 component: #residual;; "
        "{{experiment baselineText. experiment interventionText. experiment targetMetric}. "
        "mean. divergence. model hooks size}",
    )
    plain = capture(engine, CLEAN)["logits"]

    def patched(component: str) -> np.ndarray:
        value = capture(engine, CHANGED, (6, component))[6, component]
        change = {"layer_name": "6", "component": component, "operation": "replacement"}
        tensor = {"shape": list(value.shape), "data": value.ravel().tolist()}
        return capture(engine, CLEAN, interventions=[change | {"value": tensor}])["logits"]

    def logarithms(logits: np.ndarray) -> np.ndarray:
        shifted = logits.astype(float) - logits.max()
        return shifted - np.log(np.exp(shifted).sum())

    expected = np.abs(patched("attention") - plain).mean()
    p, q = logarithms(plain[-1]), logarithms(patched("residual")[-1])
    assert texts == [CLEAN, CHANGED, "klDivergence"]
    assert mean == pytest.approx(expected, rel=1e-4)
    assert divergence == pytest.approx((np.exp(p) * (p - q)).sum(), rel=1e-3)
    assert divergence > 0.01
    assert hooks == 0
