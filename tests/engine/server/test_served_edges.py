"""Edges over HTTP, on a model of three layers."""

import json
from base64 import b64decode

import numpy as np
import pytest
from safetensors.numpy import load

from engine.contract import schemas as s
from tests.engine.server.conftest import HEADS, KV_HEADS, LAYERS

EXAMPLE = {"clean": "abc", "corrupted": "adc", "answer": "x", "distractor": "y"}
SOURCES = 1 + LAYERS * (HEADS + 1)
DESTINATIONS = LAYERS * (HEADS + 2 * KV_HEADS + 1) + 1


@pytest.fixture(scope="module")
def scored(server) -> s.CircuitEdges:
    """The scores of all edges, as numbers."""
    reply = server.post("/v1/circuits/edges", **EXAMPLE, top_n=7, scores="array")
    return s.CircuitEdges.model_validate(reply)


def test_the_largest_edges_are_listed_and_all_are_in_a_safetensors_file(server, scored):
    assert [len(scored.sources), len(scored.destinations)] == [SOURCES, DESTINATIONS]
    scores = np.array(scored.all_scores.data, np.float32)
    assert scores.shape == (DESTINATIONS, SOURCES)
    before = [1 + layer * (HEADS + 1) for layer in range(LAYERS)]
    reads = [(HEADS + 2 * KV_HEADS) * each + each + HEADS for each in before]
    assert scored.edge_count == sum(reads) + SOURCES
    largest = np.sort(np.abs(scores), axis=None)[::-1][:7]
    assert [abs(each.score) for each in scored.edges] == pytest.approx(largest.tolist())
    for each in scored.edges:
        place = scored.destinations.index(each.destination), scored.sources.index(each.source)
        assert scores[place] == pytest.approx(each.score)
    assert (scored.forward_passes, scored.backward_passes) == (7, 5)
    kept = server.post("/v1/circuits/edges", **EXAMPLE, scores="safetensors")
    body = b64decode(kept["safetensors_base64"])
    np.testing.assert_allclose(load(body)["scores"], scores, rtol=1e-5, atol=1e-9)
    header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])["__metadata__"]
    assert json.loads(header["sources"]) == scored.sources
    assert json.loads(header["destinations"]) == scored.destinations
    assert kept["all_scores"] is None


def test_circuits_of_a_ranking_are_measured_beside_random_ones(server, scored):
    ranking = [{"source": e.source, "destination": e.destination} for e in scored.edges]
    reply = server.post(
        "/v1/circuits/edges/faithfulness", **EXAMPLE, edges=ranking, sizes=[3, 7], random=2
    )
    found = s.EdgeFaithfulness.model_validate(reply)
    assert found.edge_count == scored.edge_count
    assert [len(each) for each in found.random_faithfulness] == [2, 2]
    gap = found.clean_score - found.corrupted_score
    shares = [(score - found.corrupted_score) / gap for score in found.scores]
    assert found.faithfulness == pytest.approx(shares)
    whole = server.post("/v1/circuits/edges/faithfulness", **EXAMPLE, sizes=[scored.edge_count])
    assert whole["faithfulness"] == pytest.approx([1], abs=1e-3)


def test_pruning_streams_its_progress(server, scored):
    circuit = [{"source": e.source, "destination": e.destination} for e in scored.edges]
    body = {**EXAMPLE, "edges": circuit, "threshold": 0, "distance": "score", "stream": True}
    with server.http.stream("POST", "/v1/circuits/edges/prune", json=body) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: {")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert events[0]["type"] == "progress"
    assert (events[0]["unit"], events[0]["total"]) == ("edges", 7)
    pruned = s.PrunedCircuit.model_validate(events[-1]["result"])
    assert pruned.tried == 7
    assert {(e.source, e.destination) for e in pruned.edges} <= {
        (e.source, e.destination) for e in scored.edges
    }
    assert all(e.score >= 0 for e in pruned.edges)


def test_paths_are_patched_by_set_of_senders(server):
    reply = server.post(
        "/v1/circuits/paths",
        **EXAMPLE,
        senders=[["m0"], ["a0.h0", "a0.h1"]],
        receivers=["a1.h2.q", "m2"],
        held="heads",
    )
    found = s.CircuitPaths.model_validate(reply)
    assert found.effects == pytest.approx(
        [score - found.clean_scores[0] for score in found.scores[0]]
    )


def test_nodes_come_by_falling_magnitude(server):
    found = s.CircuitNodes.model_validate(server.post("/v1/circuits/nodes", **EXAMPLE))
    magnitudes = [node.magnitude for node in found.nodes]
    assert magnitudes == sorted(magnitudes, reverse=True)
    assert len(found.nodes) == LAYERS * (2 * HEADS + 2 * KV_HEADS + 1)
    assert found.backward_passes == 1 + LAYERS
    plain = server.post("/v1/circuits/nodes", **EXAMPLE, grad_drop=False)
    assert {node["magnitude"] for node in plain["nodes"]} == {None}


def test_what_is_no_edge_is_refused(server):
    for path, message, body in (
        ("edges", "both need the same number", {"corrupted": "abcd"}),
        ("edges/faithfulness", "no source", {"edges": [{"source": "m9", "destination": "m2"}]}),
        (
            "edges/prune",
            "does not read",
            {"threshold": 1, "edges": [{"source": "m2", "destination": "m1"}]},
        ),
        ("paths", "no destination", {"senders": [["m0"]], "receivers": ["a1.h9.q"]}),
    ):
        error = server.error(f"/v1/circuits/{path}", 422, **{**EXAMPLE, **body})
        assert message in error["message"]
