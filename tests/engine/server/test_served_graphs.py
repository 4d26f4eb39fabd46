"""Attribution graphs over HTTP: by which transcoders, with progress, and interventions on them."""

import json
from pathlib import Path

import pytest
from features.made import random_cross_layer, random_set

from engine.components import ComponentType as C
from engine.contract import schemas as s
from engine.features.formats import circuit_tracer, sae_lens
from engine.graphs.attribution import attribution_graph
from engine.graphs.graph import NodeKind
from engine.taps.points import Point
from tests.engine.server.conftest import HIDDEN, LAYERS, Server

PATH = "/v1/attribution_graphs"
PROMPT = "once upon"


@pytest.fixture(scope="module")
def served(server: Server, tiny_model: Path) -> Server:
    """The server with a transcoder of each layer, and with an autoencoder beside them."""
    folder = tiny_model.parent / "sets_of_graphs"
    layers = [random_set(HIDDEN, Point(n, C.MLP, True), Point(n, C.MLP)) for n in range(LAYERS)]
    circuit_tracer.save(layers, folder / "each")
    circuit_tracer.save(random_cross_layer(HIDDEN, LAYERS), folder / "across")
    sae_lens.save(random_set(HIDDEN, Point(1, C.RESIDUAL)), folder / "stream")
    for name in ("each", "stream"):
        load(server, name)
    return server


def load(server: Server, name: str, **options: str) -> None:
    folder = server.service.settings.model_roots[0] / "sets_of_graphs"
    server.post("/v1/features/load", features_path=str(folder / name), **options)


def transcoders(served: Server) -> list:
    sets = served.service.models.get(None).feature_sets.all()
    return [each for each in sets if each.set_id.startswith("each")]


def test_a_graph_is_that_of_the_engine_by_all_loaded_transcoders(served):
    body = {"prompt": PROMPT, "max_logits": 3, "node_threshold": 1, "edge_threshold": 1}
    reply = served.post(PATH, **body)
    s.AttributionGraph.model_validate(reply)
    kit = served.service.models.get(None).kit
    tokens = served.post("/v1/tokenize", text=PROMPT)["tokens"]
    sets = transcoders(served)
    graph = served.service.worker.call(
        lambda job: attribution_graph(kit, tokens, sets, max_logits=3)
    )
    assert reply["metadata"]["prompt"] == PROMPT
    assert reply["metadata"]["transcoder_list"] == [each.set_id for each in sets]
    assert reply["metadata"]["counts"]["active_features"] == graph.active_features
    logits = [node for node in reply["nodes"] if node["feature_type"] == "logit"]
    assert [node["feature"] for node in logits] == [
        node.index for node in graph.nodes if node.kind is NodeKind.LOGIT
    ]
    found = [link["weight"] for link in reply["links"] if link["target"] == logits[0]["node_id"]]
    expected = graph.weights[graph.logits.start]
    assert sorted(found) == pytest.approx(sorted(expected[expected != 0]), rel=1e-4, abs=1e-5)


def test_a_graph_streams_its_progress_and_then_itself(served):
    body = {"prompt": PROMPT, "max_feature_nodes": 5, "max_logits": 2}
    with served.http.stream("POST", PATH, json=body | {"stream": True}) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    *told, last, end = lines
    events = [json.loads(line) for line in told]
    for event in events:
        s.ProgressEvent.model_validate(event)
    assert (events[0]["done"], events[0]["unit"]) == (0, "targets")
    assert {event["total"] for event in events} == {7}
    assert json.loads(last) == {"type": "result", "result": served.post(PATH, **body)}
    assert end == "[DONE]"


def test_an_ablated_feature_takes_its_edges_away_in_what_is_predicted(served):
    body = {"prompt": PROMPT, "max_logits": 3, "node_threshold": 1, "edge_threshold": 1}
    graph = served.post(PATH, **body)
    place = next(
        {"layer": int(each["layer"]), "position": each["ctx_idx"], "feature": each["index"]}
        | {"node_id": each["node_id"]}
        for each in graph["nodes"]
        if each["feature_type"] == "cross layer transcoder" and each["layer"] == "0"
    )
    node = place.pop("node_id")
    tokens = [node["feature"] for node in graph["nodes"] if node["feature_type"] == "logit"]
    reply = served.post(
        f"{PATH}/interventions", prompt=PROMPT, changes=[place], features=[place], tokens=tokens
    )
    s.GraphInterventionOutcomes.model_validate(reply)
    weights = {link["target"]: link["weight"] for link in graph["links"] if link["source"] == node}
    for outcome in reply["logits"]:
        target = f"{LAYERS + 1}_{outcome['id']}_{len(graph['metadata']['prompt_tokens']) - 1}"
        moved = outcome["predicted"] - outcome["before"]
        assert moved == pytest.approx(-weights[target], abs=1e-5)
        assert outcome["measured"] != outcome["before"]
    (feature,) = reply["features"]
    assert feature["measured"] == pytest.approx(feature["before"])  # nothing reads what it writes


def test_a_cross_layer_transcoder_is_used_by_its_name_alone(served):
    load(served, "across", feature_set="clt")
    try:
        reply = served.post(PATH, prompt=PROMPT, feature_sets=["clt"])
        assert reply["metadata"]["transcoder_list"] == ["clt"]
        error = served.error(PATH, 422, prompt=PROMPT)
        assert "clt is of all layers" in error["message"]
    finally:
        served.post("/v1/features/unload", feature_set="clt")


@pytest.mark.parametrize(
    ("path", "status", "body", "words"),
    [
        ("", 404, {"feature_sets": ["nobody"]}, "nobody"),
        ("", 422, {"feature_sets": ["stream"]}, "needs transcoders"),
        ("", 422, {"skipped_positions": [999]}, "999"),
        ("", 400, {"node_threshold": 1.5}, "node_threshold"),
        ("/interventions", 400, {"changes": []}, "changes"),
        (
            "/interventions",
            422,
            {"changes": [{"layer": 0, "position": 0, "feature": 1}]},
            "not used at position 0",
        ),
        (
            "/interventions",
            422,
            {"changes": [{"layer": 0, "position": 1, "feature": 4000}]},
            "no feature 4000: 0 to",
        ),
        (
            "/interventions",
            422,
            {"changes": 2 * [{"layer": 0, "position": 1, "feature": 1}]},
            "twice",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(served, path, status, body, words):
    error = served.error(PATH + path, status, **{"prompt": PROMPT, **body})
    assert words in error["message"]


def test_without_transcoders_there_is_no_graph(served):
    for name in [each.set_id for each in transcoders(served)]:
        served.post("/v1/features/unload", feature_set=name)
    try:
        assert "no transcoders are loaded" in served.error(PATH, 422, prompt=PROMPT)["message"]
    finally:
        load(served, "each")
