"""A graph's document has what Neuronpedia's viewer requires, and says what the graph does."""

import numpy as np
import pytest
from jsonschema import Draft7Validator
from subjects_of_graphs import TOKENS, Subject

from engine.contract.schemas import AttributionGraph as Contract
from engine.graphs.attribution import attribution_graph
from engine.graphs.documents import document
from engine.graphs.graph import AttributionGraph, Node, NodeKind, pruned

TEXT, WHOLE, NUMBER = ({"type": kind} for kind in ("string", "integer", "number"))
MAYBE = {"type": ["number", "null"]}


def an_object(required: dict, **others: dict) -> dict:
    return {"type": "object", "properties": required | others, "required": list(required)}


def a_list(of: dict) -> dict:
    return {"type": "array", "items": of}


NEURONPEDIA = an_object(
    {
        "metadata": an_object(
            {"slug": TEXT, "scan": TEXT, "prompt_tokens": a_list(TEXT), "prompt": TEXT},
            node_threshold=NUMBER,
            info={"type": "object"},
            generation_settings=an_object(
                {},
                max_n_logits=WHOLE,
                desired_logit_prob=NUMBER,
                batch_size=WHOLE,
                max_feature_nodes=WHOLE,
            ),
            pruning_settings=an_object({}, node_threshold=NUMBER, edge_threshold=NUMBER),
        ),
        "qParams": an_object(
            {},
            pinnedIds=a_list(TEXT),
            supernodes={"type": "array"},
            linkType=TEXT,
            clickedId=TEXT,
            sg_pos=TEXT,
        ),
        "nodes": a_list(
            an_object(
                {
                    "node_id": TEXT,
                    "feature": {"type": ["integer", "null"]},
                    "layer": {"type": ["string", "integer"]},
                    "ctx_idx": WHOLE,
                    "feature_type": TEXT,
                    "jsNodeId": TEXT,
                    "clerp": TEXT,
                },
                influence=MAYBE,
                activation=MAYBE,
            )
        ),
        "links": a_list(an_object({"source": TEXT, "target": TEXT, "weight": NUMBER})),
    }
)
"""Its fields and which of them are required, as Neuronpedia's own schema for uploads has them."""
SETTINGS = {"max_n_logits": 10, "desired_logit_prob": 0.95, "max_feature_nodes": 100}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> AttributionGraph:
    kinds = {"cross_layer": False, "skip": False, "jump": False}
    subject = Subject("llama", tmp_path_factory.mktemp("llama"), **kinds)
    return attribution_graph(subject.kit, TOKENS, subject.transcoders)


def of(graph: AttributionGraph, node: float = 0.8, edge: float = 0.98) -> dict:
    return document(
        graph,
        model_id="tiny",
        transcoders=["a", "b", "c"],
        settings=SETTINGS,
        node_threshold=node,
        edge_threshold=edge,
    )


def test_the_document_is_what_neuronpedia_and_our_contract_require(graph):
    found = of(graph)
    Draft7Validator(NEURONPEDIA).validate(found)
    Contract.model_validate(found)
    assert found["metadata"]["prompt"] == " w3 w31 w4 w15 w9"
    assert found["metadata"]["slug"] == "w3-w31-w4-w15-w9"


def test_nodes_and_links_are_those_that_pruning_keeps(graph):
    found, kept = of(graph, 0.7, 0.9), pruned(graph, 0.7, 0.9)
    assert len(found["nodes"]) == kept.nodes.sum() < len(graph.nodes)
    ids = [node["node_id"] for node in found["nodes"]]
    places = dict(zip(ids, np.flatnonzero(kept.nodes), strict=True))
    weights = {(places[e["target"]], places[e["source"]]): e["weight"] for e in found["links"]}
    assert weights == {
        (t, s): pytest.approx(graph.weights[t, s]) for t, s in np.argwhere(kept.edges).tolist()
    }


def test_identifiers_say_what_and_where_a_node_is(graph):
    by_kind: dict[str, list[dict]] = {}
    for node in of(graph)["nodes"]:
        by_kind.setdefault(node["feature_type"], []).append(node)
    for node in by_kind["cross layer transcoder"]:
        layer, index, position = map(int, node["node_id"].split("_"))
        assert (node["layer"], node["ctx_idx"]) == (str(layer), position)
        assert node["feature"] == (layer + index) * (layer + index + 1) // 2 + index
    for node in by_kind["mlp reconstruction error"]:
        assert node["node_id"].split("_")[:3] == ["0", node["layer"], str(node["ctx_idx"])]
    assert [n["node_id"] for n in by_kind["embedding"]] == [
        f"E_{token}_{position}" for position, token in enumerate(TOKENS)
    ]
    (target,) = [node for node in by_kind["logit"] if node["is_target_logit"]]
    assert target["node_id"] == f"4_{target['feature']}_{len(TOKENS) - 1}"
    assert target["token_prob"] == max(node["token_prob"] for node in by_kind["logit"])
    assert f'"{" w"}{target["feature"]}"' in target["clerp"]


def test_no_two_nodes_have_one_identifier():
    """Feature 1 of layer 0 and the error of layer 1 would, at one position."""
    nodes = [Node(NodeKind.FEATURE, 0, 1, 1, "b", 1.0, 0.0, 1.0)]
    nodes += [Node(NodeKind.ERROR, n, at, None, "ab"[at]) for n in (0, 1) for at in (0, 1)]
    nodes += [Node(NodeKind.EMBEDDING, None, at, 5 + at, "ab"[at]) for at in (0, 1)]
    nodes += [Node(NodeKind.LOGIT, None, 1, 7, "c", 1.0, 0.0, probability=0.5)]
    weights = np.zeros((8, 8), np.float32)
    weights[0, 5] = weights[7, :7] = 1
    found = of(AttributionGraph([5, 6], ["a", "b"], 2, nodes, weights, 1), 1.0, 1.0)
    ids = [node["node_id"] for node in found["nodes"]]
    assert ids == ["0_1_1", "0_0_0", "0_0_1", "0_1_0", "0_1_1_error", "E_5_0", "E_6_1", "3_7_1"]
    assert {"source": "0_1_1_error", "target": "3_7_1", "weight": 1.0} in found["links"]
