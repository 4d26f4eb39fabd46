"""Attribution graphs agree with a dense computation in PyTorch, and with what interventions do."""

import numpy as np
import pytest
from subjects_of_graphs import TOKENS, Subject
from tiny import tiny_kit

from engine.components import ComponentType as C
from engine.errors import (
    InvalidRequestError,
    UnknownComponentError,
    UnknownPositionError,
    UnsupportedOperationError,
)
from engine.graphs.attribution import attributed, attribution_graph
from engine.graphs.frozen import FrozenPass
from engine.graphs.graph import AttributionGraph, NodeKind, pruned
from engine.graphs.interventions import FeatureAt, intervened
from engine.graphs.replacement import Replacement
from engine.taps.points import Point

KINDS = {
    "llama": {"cross_layer": False, "skip": True, "jump": False},
    "gpt2": {"cross_layer": True, "skip": False, "jump": True},
}


@pytest.fixture(scope="module", params=KINDS)
def subject(request, tmp_path_factory) -> Subject:
    folder = tmp_path_factory.mktemp(request.param)
    return Subject(request.param, folder, **KINDS[request.param])


@pytest.fixture(scope="module")
def replacement(subject: Subject) -> Replacement:
    return Replacement(subject.kit, TOKENS, subject.transcoders)


@pytest.fixture(scope="module")
def graph(replacement: Replacement) -> AttributionGraph:
    return attributed(replacement, max_logits=4)


def targets(graph: AttributionGraph) -> list[int]:
    return [n for n, node in enumerate(graph.nodes) if node.value is not None]


def test_every_edge_is_that_of_a_dense_computation_in_pytorch(subject, graph, one_thread):
    dense = subject.dense([node.index for node in graph.nodes[graph.logits]])
    found = [(node.layer, node.position, node.index) for node in graph.nodes[graph.features]]
    assert found == dense.features
    activations = [node.activation for node in graph.nodes[graph.features]]
    assert activations == pytest.approx(dense.activations, rel=1e-5, abs=1e-5)
    edges = graph.weights[targets(graph)][:, : graph.logits.start]
    assert np.abs(edges - dense.weights).max() <= 1e-5 * np.abs(dense.weights).max()
    assert not graph.weights[:, graph.logits].any()


def test_edges_and_bias_add_up_to_each_feature_and_logit(graph):
    for n in targets(graph):
        node = graph.nodes[n]
        total = graph.weights[n].sum(dtype=np.float64) + node.bias
        assert abs(total - node.value) <= 1e-5 * np.abs(graph.weights[n]).max()


def test_ablating_a_feature_takes_its_edges_away_while_all_else_is_frozen(replacement, graph):
    for n in (0, 5):
        node = graph.nodes[n]
        place = FeatureAt(node.layer, node.position, node.index)
        others = [
            FeatureAt(each.layer, each.position, each.index) for each in graph.nodes[graph.features]
        ]
        tokens = [each.index for each in graph.nodes[graph.logits]]
        outcomes = intervened(replacement, {place: 0.0}, others, tokens)
        found = [each.before - each.predicted for each in (*outcomes.features, *outcomes.logits)]
        edges = graph.weights[targets(graph), n]
        assert np.abs(edges).max() > 0
        assert np.abs(found - edges).max() <= 1e-5 * np.abs(graph.weights).max()


def test_a_feature_set_to_its_own_activation_changes_nothing_in_the_model(replacement, graph):
    node = graph.nodes[0]
    place = FeatureAt(node.layer, node.position, node.index)
    tokens = [each.index for each in graph.nodes[graph.logits]]
    for each in intervened(replacement, {place: node.activation}, [place], tokens).logits:
        assert each.measured == pytest.approx(each.before, abs=1e-4)
        assert each.probability_measured == pytest.approx(each.probability, abs=1e-5)


def test_logits_are_the_likeliest_until_they_have_the_mass(subject, graph, one_thread):
    logits = subject.logits()
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities)
    assert [node.index for node in graph.nodes[graph.logits]] == order[:4].tolist()
    mass = float(probabilities[order[:2]].sum()) - 1e-4
    fewer = attribution_graph(subject.kit, TOKENS, subject.transcoders, logit_mass=mass)
    assert [node.index for node in fewer.nodes[fewer.logits]] == order[:2].tolist()


def test_fewer_features_are_those_with_the_most_influence_and_keep_their_edges(replacement, graph):
    few = attributed(replacement, max_logits=4, max_feature_nodes=6, batch_size=64)
    kept = few.nodes[few.features]
    assert len(kept) == 6
    places = [graph.nodes.index(node) for node in few.nodes]
    assert np.allclose(few.weights, graph.weights[places][:, places], atol=1e-5)
    to_logits = np.abs(graph.weights[graph.logits])
    shares = to_logits / to_logits.sum(axis=1, keepdims=True)
    direct = (graph.logit_weights[graph.logits] @ shares)[graph.features]
    assert sorted(places[:6]) == sorted(np.argsort(-direct)[:6].tolist())


def test_pruning_keeps_the_share_of_influence_that_it_is_told_to(graph):
    size = len(graph.nodes)
    shared = np.abs(graph.weights.astype(np.float64))
    sums = shared.sum(1, keepdims=True)
    shared = shared / np.where(sums == 0, 1, sums)
    everything = np.linalg.inv(np.eye(size) - shared) - np.eye(size)
    influence = graph.logit_weights @ everything
    found = pruned(graph, 0.8, 0.98)
    best = np.sort(influence)[::-1]
    enough = int(np.searchsorted(best.cumsum() / best.sum(), 0.8)) + 1
    by_influence = influence >= best[enough - 1] * (1 - 1e-5)
    ends = np.arange(size) >= graph.embeddings.start
    assert not (found.nodes & ~(by_influence | ends)).any()
    assert found.nodes[ends].all()
    for n in np.flatnonzero(found.nodes[: graph.errors.stop]):
        assert found.edges[:, n].any()
    for n in np.flatnonzero(found.nodes[graph.features]):
        assert found.edges[n].any()
    assert not found.edges[~found.nodes].any()
    assert not found.edges[:, ~found.nodes].any()
    everywhere = pruned(graph, 1.0, 1.0)
    kept = np.ix_(everywhere.nodes, everywhere.nodes)
    assert (everywhere.edges[kept] == (graph.weights[kept] != 0)).all()
    assert found.nodes.sum() < everywhere.nodes.sum()


def test_scores_are_shares_of_influence_that_does_not_begin_at_errors(graph):
    size = len(graph.nodes)
    shared = np.abs(graph.weights.astype(np.float64))
    sums = shared.sum(1, keepdims=True)
    shared = shared / np.where(sums == 0, 1, sums)
    reached = graph.logit_weights @ np.linalg.inv(np.eye(size) - shared)
    begun = {part: (reached - graph.logit_weights)[getattr(graph, part)].sum()
             for part in ("embeddings", "errors")}  # fmt: skip
    explained = 1 - shared[:, graph.errors].sum(1)
    replaced, complete = graph.scores
    assert replaced == pytest.approx(begun["embeddings"] / sum(begun.values()), rel=1e-4)
    assert complete == pytest.approx((explained * reached).sum() / reached.sum(), rel=1e-4)


@pytest.mark.parametrize("name", ["gemma2", "qwen3", "gpt_oss", "deepseek_v3", "cohere", "olmo2"])
def test_a_frozen_pass_of_other_architectures_is_linear(name: str):
    kit = tiny_kit(name)
    reads = [Point(layer, C.MLP, True) for layer in range(kit.structure.layers)]
    frozen = FrozenPass(kit, TOKENS, reads, {})
    random = np.random.default_rng(0)
    given = {point: frozen.values[point][None] for point in frozen.writes}
    change = {p: random.normal(size=v.shape).astype(np.float32) for p, v in given.items()}
    same, once, twice = (
        frozen.run({point: value + times * change[point] for point, value in given.items()})
        for times in (0, 1, 2)
    )
    for point in frozen.reads:
        assert np.allclose(same[point], frozen.values[point], atol=1e-4)
        step = np.array(once[point] - same[point])
        assert np.array(twice[point] - once[point]) == pytest.approx(step, abs=1e-4)


def test_what_has_no_graph_is_refused_by_name(subject):
    kit, coders = subject.kit, subject.transcoders

    def refused(error: type[Exception], words: str, **options) -> None:
        with pytest.raises(error, match=words):
            attribution_graph(options.pop("kit", kit), TOKENS, **{"transcoders": coders} | options)

    refused(InvalidRequestError, "at least one", transcoders=[])
    refused(
        InvalidRequestError, "two transcoders|has to be alone", transcoders=[*coders, coders[0]]
    )
    refused(InvalidRequestError, "max_feature_nodes: 0", max_feature_nodes=0)
    refused(InvalidRequestError, "logit_mass: 1.5", logit_mass=1.5)
    refused(UnknownPositionError, "0 to 4", skipped_positions=[5])
    with pytest.raises(UnknownComponentError, match="attention_pattern"):
        FrozenPass(tiny_kit("mamba"), TOKENS, [], {})


def test_a_model_that_stays_nonlinear_is_refused(subject, monkeypatch):
    monkeypatch.setattr("engine.graphs.frozen.norms_of", lambda model: [])
    with pytest.raises(UnsupportedOperationError, match="not linear"):
        attribution_graph(subject.kit, TOKENS, subject.transcoders)


def test_nodes_have_their_kinds_in_order(graph):
    kinds = [node.kind for node in graph.nodes]
    assert kinds == sorted(kinds, key=list(NodeKind).index)
    assert kinds.count(NodeKind.ERROR) == 3 * len(TOKENS)
    assert all(node.position > 0 for node in graph.nodes[graph.features])
