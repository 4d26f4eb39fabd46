"""Edges in the image are those that Python is told."""

import re
from pathlib import Path

import pytest
from neuroscope import ask

from bridge.client import LMStudioNeuroScopeClient
from systems import System

TEMPLATES = Path(__file__).parents[2] / "templates/neuroscope"
TASK = {
    "clean": "The capital of France is",
    "corrupted": "The capital of Italy is",
    "answer": " Paris",
    "distractor": " Rome",
}
EXAMPLES = (
    f"({{NeuroScopeCircuitExample clean: '{TASK['clean']}' corrupted: '{TASK['corrupted']}' "
    "answer: ' Paris' distractor: ' Rome'})"
)


def test_edges_and_what_circuits_of_them_do_are_the_servers(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    edges, between, curve, names, pathway, paths, plot = ask(
        system,
        engine,
        "| finder edges curve circuit examples | finder := CircuitFinder for: model;; "
        f"examples := {EXAMPLES};; "
        "edges := finder edgesOver: examples method: #eap count: 12;; "
        "curve := finder faithfulnessOf: edges over: examples sizes: #(4 12) random: 1;; "
        "circuit := finder circuitOfEdges: edges named: 'capitals' over: examples;; "
        "{edges collect: [:each | {each source. each target. each strength}]. "
        "(finder edgesBetween: #('m0' 'a23.h3') and: #('logits' 'm29') over: examples "
        "method: #eap) collect: [:each | {each source. each target}]. "
        "{curve sizes. curve faithfulness. curve randomFaithfulness first size. curve edgeCount. "
        "curve areaUnderCurve. circuit confidence}. "
        "circuit components collect: [:each | each name]. "
        "circuit pathway collect: [:each | {each source. each target}]. "
        "(finder effectsOfPathsFrom: #('m0' 'm1') to: #('logits') over: examples) asArray. "
        "curve plot}",
    )
    expected = engine.score_edges(**TASK, method="eap", top_n=12)
    assert [each[:2] for each in edges] == [
        [each["source"], each["destination"]] for each in expected["edges"]
    ]
    assert [each[2] for each in edges] == pytest.approx(
        [each["score"] for each in expected["edges"]], abs=1e-5
    )
    assert sorted(between) == sorted([[a, b] for a in ("m0", "a23.h3") for b in ("logits", "m29")])
    ranking = [{"source": a, "destination": b} for a, b, _ in edges]
    measured = engine.edge_faithfulness(**TASK, edges=ranking, sizes=[4, 12])
    assert curve[0] == [4, 12]
    assert curve[1] == pytest.approx(measured["faithfulness"], abs=1e-4)
    assert curve[2:4] == [2, measured["edge_count"]]
    assert curve[4] == pytest.approx(measured["cpr"], abs=1e-4)
    assert curve[5] == pytest.approx(measured["faithfulness"][1], abs=1e-4)
    joined = {name for pair in pathway for name in pair}
    assert set(names) == joined
    assert len(pathway) == 12
    exact = engine.patch_paths([["m0"], ["m1"]], ["logits"], **TASK)
    assert paths == pytest.approx(exact["effects"], abs=1e-4)
    assert "random" in plot


def test_data_sets_of_years_and_capitals_have_inputs_of_as_many_tokens(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    found = ask(
        system,
        engine,
        "#(#greaterThan #capitals) collect: [:name | "
        "(NeuroScopeCircuitDataset named: name for: model) examples collect: [:each | "
        "{each clean. each corrupted. each answers. each distractors}]]",
    )
    for examples in found:
        for clean, corrupted, answers, distractors in examples:
            lengths = [len(engine.tokenize(text)["tokens"]) for text in (clean, corrupted)]
            assert lengths[0] == lengths[1]
            assert not set(answers) & set(distractors)
    clean, corrupted, answers, distractors = found[0][0]
    assert clean == "The war lasted from the year 1732 to the year 17"
    assert corrupted == "The war lasted from the year 1701 to the year 17"
    assert (answers, distractors) == (["4", "5", "6", "7", "8", "9"], ["0", "1", "2"])


def test_the_examples_of_the_class_comments_run(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    blocks = []
    for name in ("NeuroScopeEdgeExperiment", "NeuroScopeEdgeFaithfulness", "CircuitFinder"):
        source = (TEMPLATES / f"{name}.st").read_text()
        example = re.search(r"^Example:\n(.*?)!$", source, re.S | re.M)[1]
        usual = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
        blocks.append(f"[{example.replace('LMStudioRESTClient default', usual)}] value")
    edges, plot, picture = ask(
        system,
        engine,
        "{" + ". ".join(blocks) + "} collect: "
        "[:each | each isString ifTrue: [each] ifFalse: [each size printString]]",
    )
    assert edges == "10"
    assert "random" in plot
    assert "capitals" in picture
    assert "L23H4" in picture
