"""The short way to a circuit: few requests, and every choice that the engine has."""

import numpy as np
import pytest
from counting import counted
from neuroscope import IOI, IOI_CORRUPTED, ask

from bridge.client import LMStudioNeuroScopeClient
from systems import System

EXAMPLE = (
    f"(NeuroScopeCircuitExample clean: '{IOI}' corrupted: '{IOI_CORRUPTED}' "
    "answer: ' Mary' distractor: ' John')"
)
NAMED = {"answers": [" Mary"], "distractors": [" John"]}
TASK = {"clean": IOI, "corrupted": IOI_CORRUPTED, **NAMED}
SHORT = {"clean": "The cat sat", "corrupted": "The dog sat"} | {
    "answers": [" on", " down"],
    "distractors": [" still"],
}
SHORT_EXAMPLE = (
    "(NeuroScopeCircuitExample clean: 'The cat sat' corrupted: 'The dog sat' "
    "answers: #(' on' ' down') distractors: #(' still'))"
)
BEFORE = {
    "activationPatching": (
        [(23, 3, 0.5837965607), (29, 1, 0.2652049363), (20, 0, 0.2155229598)],
        0.9700089854,
    ),
    "attributionPatching": ([(23, 3, 0.6530514956), (29, 1, 0.2654225230)], 0.7218588729),
    "ablation": ([(23, 3, 0.2622746825)], 0.2622746881),
}
"""Parts and confidence where the image ran each pass by a request of its own: 17 for a circuit."""


@pytest.mark.parametrize("method", BEFORE)
def test_a_circuit_takes_at_most_three_requests(
    system: System, engine: LMStudioNeuroScopeClient, method: str
) -> None:
    with counted(engine.base_url) as proxy:
        found, confidence = ask(
            system,
            proxy,
            "| circuit | circuit := (CircuitFinder for: model) findCircuitFor: 'indirect object' "
            f"examples: {{{EXAMPLE}}} method: #{method} threshold: 0.2;; "
            "{circuit components collect: [:each | {each layer. each index. each score}]. "
            "circuit confidence}",
        )
    assert len(proxy.requests) <= 3, proxy.requests
    parts, share = BEFORE[method]
    assert [tuple(part[:2]) for part in found] == [part[:2] for part in parts]
    assert [part[2] for part in found] == pytest.approx([part[2] for part in parts], abs=1e-6)
    assert confidence == pytest.approx(share, abs=1e-6)


def test_several_examples_are_averaged_and_their_answers_pooled(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    found = ask(
        system,
        engine,
        "| finder | finder := (CircuitFinder for: model) component: #mlp; pooling: #logsumexp; "
        "yourself;; "
        f"(finder componentsBy: #attributionPatching over: {{{EXAMPLE}. {SHORT_EXAMPLE}}}) "
        "collect: [:each | {each layer. each score}]",
    )
    reply = engine.patch_circuit(
        examples=[TASK, SHORT],
        pooling="logsumexp",
        component="mlp",
        method="attribution_patching",
    )
    effects = np.array(reply["effects"]["data"])[:, 0]
    assert [layer for layer, _ in found] == np.argsort(-effects, kind="stable").tolist()
    assert [score for _, score in found] == pytest.approx(np.sort(effects)[::-1], abs=1e-5)


def test_positions_and_direction_are_the_finder_s(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    each, given, chosen = ask(
        system,
        engine,
        "| finder circuit each chosen | finder := CircuitFinder for: model;; "
        "circuit := (finder positions: #each; findCircuitFor: 'x' "
        f"examples: {{{EXAMPLE}}} method: #attributionPatching threshold: 0.2);; "
        "each := {circuit components collect: [:part | {part layer. part index. part positions. "
        "part name. part score}]. circuit confidence};; "
        "chosen := (finder positions: #(-1 9); direction: #noising; component: #attention; "
        f"yourself) componentsBy: #activationPatching over: {{{EXAMPLE}}};; "
        "{each. chosen first positions. chosen collect: [:part | {part layer. part score}]}",
    )
    by_position = engine.patch_circuit(
        examples=[TASK], method="attribution_patching", positions="each"
    )
    effects = np.array(by_position["effects"]["data"])
    parts, confidence = each
    places = sorted(zip(*np.nonzero(effects >= 0.2), strict=True), key=lambda p: -effects[p])
    assert [(layer, head, place) for layer, head, (place,), *_ in parts] == places
    layer, head, place = places[0]
    assert parts[0][3] == f"L{layer}H{head} at {place}"
    sets = [
        [
            {"layer": int(n), "head": int(h), "positions": [int(position)]}
            for n, h, position in places
        ]
    ]
    at_once = engine.patch_circuit(examples=[TASK], sets=sets)
    assert confidence == pytest.approx(at_once["effects"]["data"][0], abs=1e-6)
    noised = engine.patch_circuit(
        examples=[TASK], component="attention", direction="noising", positions=[-1, 9]
    )
    expected = np.array(noised["effects"]["data"])[:, 0]
    assert given == [-1, 9]
    assert dict(chosen) == pytest.approx(dict(enumerate(expected.tolist())), abs=1e-5)


def test_ablations_are_objects(system: System, engine: LMStudioNeuroScopeClient) -> None:
    references = "#('When Tom and Ann went to the school, Sue gave a flower to')"
    mean, resampled, named, unknown, none = ask(
        system,
        engine,
        "| finder effect | finder := (CircuitFinder for: model) component: #mlp; yourself;; "
        "effect := [:method | finder effectOf: {NeuroScopeCircuitComponent layer: 20 "
        f"component: #mlp unit: nil positions: nil score: 1}} by: method over: {{{EXAMPLE}}}];; "
        "{effect value: (NeuroScopeMeanAblation new overPositions; "
        f"references: {references}; yourself). "
        f"effect value: (NeuroScopeResampleAblation new references: {references}; samples: 1 "
        "seed: 0; yourself). effect value: #meanAblation. "
        f"[finder componentsBy: #telepathy over: {{{EXAMPLE}}}] on: Error "
        "do: [:error | error messageText]. "
        "[finder componentsBy: #ablation over: #()] on: InsufficientDataError "
        "do: [:error | error messageText]}",
    )

    def effect(**ablation: object) -> float:
        reply = engine.patch_circuit(
            examples=[TASK],
            sets=[[{"layer": 20, "component": "mlp"}]],
            method="ablation",
            direction="noising",
            ablation=ablation,
        )
        return reply["effects"]["data"][0]

    prompts = ["When Tom and Ann went to the school, Sue gave a flower to"]
    assert mean == pytest.approx(effect(kind="mean", over="positions", references=prompts))
    assert resampled == pytest.approx(effect(kind="resample", references=prompts, samples=1))
    assert named == pytest.approx(effect(kind="mean"))
    assert len({round(each, 4) for each in (mean, resampled, named)}) == 3
    assert unknown.startswith("no method telepathy; there are activationPatching")
    assert none == "there are no examples"


def test_a_circuit_is_verified(system: System, engine: LMStudioNeuroScopeClient) -> None:
    scores, shares, subsets, parts = ask(
        system,
        engine,
        "| circuit found | circuit := Circuit name: 'names' components: {"
        "NeuroScopeCircuitComponent head: 3 layer: 23 score: 2. "
        "NeuroScopeCircuitComponent head: 1 layer: 29 score: 1} confidence: 1 evidence: 'given';; "
        "found := (CircuitFinder for: model) verifyCircuit: circuit "
        f"overDataset: {{{EXAMPLE}}} by: #ablation;; "
        "{{found modelScore. found circuitScore. found emptyScore}. "
        "{found faithfulness. found faithfulnessShare. found incompleteness}. "
        "found completeness collect: [:each | {(each at: #parts) collect: [:part | part name]. "
        "each at: #incompleteness}]. "
        "found minimality collect: [:each | {(each at: #part) name. each at: #minimality}]}",
    )
    reply = engine.verify_circuit(
        [{"layer": 23, "head": 3}, {"layer": 29, "head": 1}], [TASK], ablation={"kind": "zero"}
    )
    names = ["L23H3", "L29H1"]
    assert scores == pytest.approx(
        [reply[name] for name in ("model_score", "circuit_score", "empty_score")]
    )
    assert shares == pytest.approx(
        [reply[name] for name in ("faithfulness", "faithfulness_share", "incompleteness")]
    )
    assert subsets == [
        [[names[number] for number in each["subset"]], pytest.approx(each["incompleteness"])]
        for each in reply["completeness"]
    ]
    assert parts == [
        [name, pytest.approx(each["minimality"])]
        for name, each in zip(names, reply["minimality"], strict=True)
    ]


def test_neurons_are_found_by_attribution(system: System, engine: LMStudioNeuroScopeClient) -> None:
    found, confidence = ask(
        system,
        engine,
        "| finder circuit | finder := (CircuitFinder for: model) component: #mlpHidden; yourself;; "
        f"circuit := finder findCircuitFor: 'neurons' examples: {{{EXAMPLE}}} "
        "method: #attributionPatching threshold: 0.02;; "
        "{circuit components collect: [:each | {each layer. each index. each name. each score}]. "
        "circuit confidence}",
    )
    reply = engine.patch_circuit(
        examples=[TASK], component="mlp_hidden", method="attribution_patching"
    )
    effects = np.array(reply["effects"]["data"])
    assert effects.shape == (30, 1536)
    places = sorted(zip(*np.nonzero(effects >= 0.02), strict=True), key=lambda p: -effects[p])
    assert places
    assert [(layer, neuron) for layer, neuron, *_ in found] == places
    assert found[0][2] == "L{}N{}".format(*places[0])
    sets = [[{"layer": int(n), "component": "mlp_hidden", "neuron": int(i)} for n, i in places]]
    at_once = engine.patch_circuit(examples=[TASK], sets=sets)
    assert confidence == pytest.approx(at_once["effects"]["data"][0], abs=1e-6)


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_attribution_finds_the_head_that_attends_to_what_followed(
    system: System, engine: LMStudioNeuroScopeClient, direction: str
) -> None:
    """The head of the largest prefix-matching score, 0.80, is the part of the largest effect."""
    best, head = ask(
        system,
        engine,
        f"{{((CircuitFinder for: model) direction: #{direction}; "
        "componentsBy: #attributionPatching "
        "over: (NeuroScopeCircuitDataset named: #inductionHead for: model) examples) first name. "
        "(AttentionAnalyzer for: model) detectInductionHeads first name}",
    )
    assert best == head == "L18H6"
