"""Attribution graphs in an image are the server's; one can walk through them and change them."""

import re
from pathlib import Path

import pytest
from neuroscope import ask

from bridge.client import LMStudioNeuroScopeClient
from systems import System

PROMPT = "The capital of France is"
OPTIONS = {"max_feature_nodes": 60, "max_logits": 3, "node_threshold": 0.6, "edge_threshold": 0.7}
ASSOCIATIONS = ". ".join(f"'{name}' -> {value}" for name, value in OPTIONS.items())
MADE = f"| graph | graph := model attributionGraphOf: '{PROMPT}' options: {{{ASSOCIATIONS}}};; "
CUT = f"{MADE.replace('| graph |', '| graph cut |')}cut := graph features first ablate;; "
TEMPLATE = Path(__file__).parents[2] / "templates" / "neuroscope" / "AttributionGraph.st"


@pytest.fixture(scope="module")
def graph(engine: LMStudioNeuroScopeClient, transcoders: list[str]) -> dict:
    return dict(engine.attribution_graph(PROMPT, **OPTIONS))


def test_a_graph_is_the_servers_and_one_can_walk_along_its_edges(
    system: System, engine: LMStudioNeuroScopeClient, graph: dict
) -> None:
    counts, scores, likeliest, inputs, back, pruned, fields = ask(
        system,
        engine,
        f"{MADE}{{"
        "{graph nodes size. graph edges size. graph features size. graph tokens}. "
        "{graph replacementScore. graph completenessScore}. "
        "graph logits first id. "
        "(graph logits first strongest: 3 of: graph logits first inputs) "
        "collect: [:each | {each source id. each weight}]. "
        "(graph node: graph logits first inputs first source id) outputs "
        "collect: [:each | each target id]. "
        "{(graph pruned: 0.5) nodes size. (graph pruned: 0.5) edges size}. "
        "graph logits first inspectorFields size}",
    )
    nodes, links, metadata = graph["nodes"], graph["links"], graph["metadata"]
    kinds = [node["feature_type"] for node in nodes]
    tokens = [node["index"] for node in nodes if node["feature_type"] == "embedding"]
    assert counts == [len(nodes), len(links), kinds.count("cross layer transcoder"), tokens]
    assert scores == pytest.approx([*metadata["scores"].values()], rel=1e-4)
    (target,) = [node["node_id"] for node in nodes if node["is_target_logit"]]
    assert likeliest == target
    into = sorted((e for e in links if e["target"] == target), key=lambda e: -abs(e["weight"]))
    assert [source for source, _ in inputs] == [edge["source"] for edge in into[:3]]
    assert [w for _, w in inputs] == pytest.approx([e["weight"] for e in into[:3]], rel=1e-3)
    assert set(back) == {e["target"] for e in links if e["source"] == into[0]["source"]}
    kept = {
        node["node_id"]
        for node in nodes
        if node["influence"] <= 0.5 or node["feature_type"] in ("embedding", "logit")
    }
    between = [e for e in links if {e["source"], e["target"]} <= kept]
    assert pruned == [len(kept), len(between)]
    assert fields == 4 + len(into)


def test_an_ablated_feature_is_compared_with_what_the_graph_predicts(
    system: System, engine: LMStudioNeuroScopeClient, graph: dict
) -> None:
    node, predicted, measured, probability, refused = ask(
        system,
        engine,
        f"{CUT}{{graph features first id. "
        "graph logits collect: [:each | (cut predictedFor: each) - (cut beforeFor: each)]. "
        "cut measuredFor: graph logits first. "
        "cut probabilityFor: graph logits first. "
        "[graph logits first ablate. 'nothing'] on: InvalidDataError "
        "do: [:error | error messageText]}",
    )
    place = next(each for each in graph["nodes"] if each["node_id"] == node)
    logits = sorted(
        (each for each in graph["nodes"] if each["feature_type"] == "logit"),
        key=lambda each: -each["token_prob"],
    )
    weights = {e["target"]: e["weight"] for e in graph["links"] if e["source"] == node}
    for logit, moved in zip(logits, predicted, strict=True):
        if logit["node_id"] in weights:  # others are pruned
            assert moved == pytest.approx(-weights[logit["node_id"]], abs=1e-3)
    change = {"layer": int(place["layer"]), "position": place["ctx_idx"], "feature": place["index"]}
    tokens = [logit["index"] for logit in logits]
    reply = engine.change_graph_features([change], PROMPT, tokens=tokens)
    assert measured == pytest.approx(reply["logits"][0]["measured"], abs=1e-3)
    assert probability == pytest.approx(reply["logits"][0]["probability_measured"], abs=1e-4)
    assert "is no feature" in refused


def test_a_graph_goes_through_a_file_and_then_changes_nothing(
    system: System, engine: LMStudioNeuroScopeClient, graph: dict
) -> None:
    same, refused = ask(
        system,
        engine,
        f"{MADE}{{(AttributionGraph fromJson: graph asJson) report = graph report. "
        "[(AttributionGraph fromJson: graph asJson) features first ablate. 'nothing'] "
        "on: InsufficientDataError do: [:error | error messageText]}",
    )
    assert same
    assert "no model" in refused


def test_the_example_of_the_class_comment_runs(
    system: System, engine: LMStudioNeuroScopeClient, transcoders: list[str]
) -> None:
    example = re.search(r"Example:\n(.*?)!\n", TEMPLATE.read_text(), re.S)
    assert example
    code = example[1].replace(
        "TransformerModel remote: LMStudioRESTClient default", "model"
    ).replace(f"attributionGraphOf: '{PROMPT}'", f"attributionGraphOf: '{PROMPT}' "
              f"options: {{{ASSOCIATIONS}}}")  # fmt: skip
    report = ask(system, engine, re.sub(r"\.\n", ";; ", " ".join(code.split(" "))).strip())
    assert "predicted" in report
    assert "measured" in report
