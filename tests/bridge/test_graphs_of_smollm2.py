"""An attribution graph of the default model: it explains, and the model does what it says."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from bridge.cli import main
from bridge.client import LMStudioNeuroScopeClient
from bridge.resources import OPENAPI

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def graph(
    engine: LMStudioNeuroScopeClient, transcoders: list[str], tmp_path_factory
) -> dict[str, dict]:
    """What the command writes of a graph."""
    folder = tmp_path_factory.mktemp("graph")
    written, page = folder / "graph.json", folder / "graph.html"
    words = ["graph", "--prompt", PROMPT, "--url", engine.base_url, "--max-feature-nodes", "200"]
    words += [word for name in transcoders for word in ("--feature-set", name)]
    run = CliRunner().invoke(main, [*words, "--output", str(written), "--page", str(page)])
    assert run.exit_code == 0, run.output
    assert " Paris" in page.read_text(encoding="utf-8")
    return json.loads(written.read_text())


def test_the_document_is_what_the_api_declares(graph):
    schemas = json.loads(Path(OPENAPI).read_text())["components"]
    Draft202012Validator(
        {"$ref": "#/components/schemas/AttributionGraph", "components": schemas}
    ).validate(graph)


def test_most_of_what_enters_nodes_is_explained(graph):
    scores = graph["metadata"]["scores"]
    assert 0.5 < scores["completeness"] < 1
    assert 0.05 < scores["replacement"] < 1


def test_the_model_moves_where_the_graph_says_when_features_are_ablated(graph, engine):
    (target,) = [node for node in graph["nodes"] if node["is_target_logit"]]
    assert target["clerp"].startswith('Output " Paris"')
    nodes = {node["node_id"]: node for node in graph["nodes"]}
    into = [
        (link["weight"], nodes[link["source"]])
        for link in graph["links"]
        if link["target"] == target["node_id"]
        and nodes[link["source"]]["feature_type"] == "cross layer transcoder"
    ]
    strongest = sorted(into, key=lambda each: -abs(each[0]))[:5]
    for weight, node in strongest:
        place = {"layer": int(node["layer"]), "position": node["ctx_idx"]}
        reply = engine.change_graph_features(
            [{**place, "feature": node["index"]}], PROMPT, tokens=[target["index"]]
        )
        (outcome,) = reply["logits"]
        assert outcome["predicted"] - outcome["before"] == pytest.approx(-weight, rel=1e-2)
        assert (outcome["measured"] - outcome["before"]) * weight < 0
