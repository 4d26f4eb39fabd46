"""Edges: estimates agree with PyTorch, and exact runs with a model written out in it."""

import numpy as np
import pytest
import torch
from pytorch_edges import WrittenOut
from reference_models import reference_model, save
from tasks import TINY
from tiny import tiny_kit

from engine.analysis.circuits import Task, patch_effects
from engine.analysis.edges.attribution import edge_scores
from engine.analysis.edges.curves import faithfulness
from engine.analysis.edges.model import edge_model
from engine.analysis.edges.nodes import node_scores
from engine.analysis.edges.patched import CircuitRuns
from engine.analysis.edges.paths import patch_paths
from engine.analysis.edges.pruning import prune
from engine.captures.hooks import ActivationHookSpec
from engine.errors import InvalidRequestError, UnequalPromptsError, UnsupportedOperationError
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.kit import ModelKit, load_model, single_token, tokenize

pytestmark = pytest.mark.usefixtures("one_thread")
CLEAN, CORRUPTED = "The capital of France is", "The capital of Italy is"
BUDGET = 20
"""Forward passes that the scores of all edges may take; a backward pass counts as two."""
BLOCKS = ("llama", "gemma2", "olmo2", "cohere", "gpt_neox", "qwen3_moe", "gpt_oss", "gpt2")
"""Plain blocks, norms behind attention, parallel ones, experts, sinks, learned positions."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[ModelKit, WrittenOut]:
    """One model of two layers, here and in PyTorch; two heads share keys and values."""
    model = reference_model("llama", num_hidden_layers=2)
    folder = save(model, tmp_path_factory.mktemp("llama"))
    return load_model(folder, dtype="float32"), WrittenOut(model)


def difference(logits):
    """The score of the tiny task in PyTorch."""
    return logits[TINY.answer] - logits[TINY.distractor]


def relative(found, expected) -> float:
    """The largest difference, in shares of the largest number."""
    expected = np.asarray(expected)
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


# --- estimates ------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "shares"), [("eap", [1]), ("eap_ig", [0.2, 0.4, 0.6, 0.8, 1])])
def test_scores_of_all_edges_agree_with_pytorch(pair, method, shares):
    kit, written_out = pair
    found = edge_scores(kit, TINY, method=method)
    expected = written_out.slopes(TINY, difference, shares, found.graph)
    assert relative(found.scores, expected) < 1e-4
    assert (found.scores[~found.graph.edges] == 0).all()


def test_scores_of_all_edges_of_smollm2_agree_with_pytorch(smollm2_path, smollm2_reference):
    kit = load_model(smollm2_path, dtype="float32")
    answer, distractor = (single_token(kit, name) for name in (" Paris", " Rome"))
    task = Task(tokenize(kit, CLEAN), tokenize(kit, CORRUPTED), answer, distractor)
    found = edge_scores(kit, task, steps=2)
    expected = WrittenOut(smollm2_reference).slopes(
        task, lambda logits: logits[answer] - logits[distractor], [0.5, 1], found.graph
    )
    assert found.graph.edges.sum() == 70651
    assert relative(found.scores, expected) < 1e-4


def test_all_edges_take_fewer_than_twenty_forward_passes(pair, monkeypatch):
    kit, _ = pair
    edge_model(kit)
    calls = []
    whole = type(kit.structure).logits
    monkeypatch.setattr(
        type(kit.structure), "logits", lambda *args: (calls.append(1), whole(*args))[1]
    )
    found = edge_scores(kit, TINY)
    traced = found.backward_passes  # the pass that tells shapes, which is not evaluated
    assert len(calls) == found.forward_passes + traced
    assert found.forward_passes + 2 * found.backward_passes < BUDGET


@pytest.mark.parametrize("architecture", BLOCKS)
def test_scores_of_an_edge_are_the_slope_of_its_exact_effect(architecture):
    """Of every architecture's blocks: what enters the last MLP from each source, by finite
    differences of the whole model's own residual stream there."""
    kit = tiny_kit(architecture)
    found = edge_scores(kit, TINY, method="eap")
    graph = found.graph
    runs = CircuitRuns(kit, edge_model(kit), TINY)
    row = len(graph.destinations) - 1  # the logits, which a residual intervention reaches alone
    for source in ("input", "a0.h1", "m0", "a1.h2", "m1"):
        column = graph.source(source)
        kept = graph.edges.copy()
        kept[row, column] = False
        effect = runs.run(kept).score - runs.clean_score
        change = written(kit, source)
        ahead, behind = (residual_score(kit, TINY.clean, step * change) for step in (0.01, -0.01))
        assert found.scores[row, column] == pytest.approx((ahead - behind) / 0.02, abs=2e-3)
        whole = residual_score(kit, TINY.clean, change) - runs.clean_score
        assert effect == pytest.approx(whole, abs=1e-4)


def residual_score(kit: ModelKit, tokens, addition: np.ndarray) -> float:
    """The score where something is added to what the last layer returns."""
    edit = Intervention(str(kit.structure.layers - 1), "residual", "addition", value=addition)
    logits = forward(kit, [tokens], interventions=[edit]).logits[0, -1].astype(np.float64)
    return logits[TINY.answer] - logits[TINY.distractor]


def written(kit: ModelKit, source: str) -> np.ndarray:
    """What a source writes over the corrupted prompt less what it writes over the clean one."""
    if source.startswith("a"):
        layer, head = source[1:].split(".h")
        hook = ActivationHookSpec(layer, "head_output", "z", heads=(int(head),))
        (value,) = forward(kit, [TINY.corrupted], [hook]).activations["z"]
        edit = Intervention(layer, "head_output", "patching", heads=(int(head),), value=value.data)
        hook = ActivationHookSpec(layer, "attention", "out")
        after, before = (
            forward(kit, [TINY.clean], [hook], edits).activations["out"][0].data
            for edits in ([edit], [])
        )
        return after - before
    name = "embedding" if source == "input" else source[1:]
    component = "embedding" if source == "input" else "mlp"
    hook = ActivationHookSpec(name, component, "out")
    after, before = (
        forward(kit, [tokens], [hook]).activations["out"][0].data
        for tokens in (TINY.corrupted, TINY.clean)
    )
    return after - before


# --- exact runs -----------------------------------------------------------------------------


def test_circuits_run_as_the_model_written_out_does(pair):
    kit, written_out = pair
    model = edge_model(kit)
    graph, runs = model.graph, CircuitRuns(kit, model, TINY)
    random = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.9):
        patched = graph.edges & (random.random(graph.edges.shape) < share)
        names = {graph.named(tuple(place)) for place in np.argwhere(patched)}
        expected = difference(written_out.circuit(TINY, names)).item()
        assert runs.run(graph.edges & ~patched).score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("architecture", BLOCKS)
def test_all_edges_are_the_clean_run_and_none_the_corrupted(architecture):
    kit = tiny_kit(architecture)
    runs = CircuitRuns(kit, edge_model(kit), TINY)
    edges = edge_model(kit).graph.edges
    assert runs.run(edges).score == pytest.approx(runs.clean_score, abs=1e-5)
    assert runs.run(edges & False).score == pytest.approx(runs.corrupted_score, abs=1e-5)


def test_a_run_that_goes_on_from_another_is_the_run_from_the_start(pair):
    kit, _ = pair
    model = edge_model(kit)
    runs = CircuitRuns(kit, model, TINY)
    kept = model.graph.edges.copy()
    kept[5, :1] = False
    before = runs.run(kept)
    kept[model.graph.destination("m1"), [2, 5]] = False
    assert runs.run(kept, before, 1).score == pytest.approx(runs.run(kept).score, abs=1e-6)
    assert abs(before.score - runs.run(kept).score) > 1e-5


@pytest.mark.parametrize("architecture", BLOCKS)
def test_path_patching_agrees_with_the_brute_force_over_edges(architecture):
    """The two are separate ways: whole passes with other values held, and runs block by block."""
    kit = tiny_kit(architecture)
    model = edge_model(kit)
    graph, runs = model.graph, CircuitRuns(kit, model, TINY)
    keys = next(n.name for n in graph.destinations if n.kind == "key" and n.layer == 1)
    senders = [["input"], ["a0.h1"], ["m0"], ["a0.h0", "a0.h2"]]
    for receiver in ("a1.h3.q", keys, "m1", "logits"):
        found = patch_paths(kit, TINY, senders, [receiver])
        for names, score in zip(senders, found.scores[0], strict=True):
            kept = graph.edges & ~graph.mask((name, receiver) for name in names)
            assert score == pytest.approx(runs.run(kept).score, abs=1e-4)
    assert np.abs(found.effects).max() > 1e-3


def test_mlps_that_are_not_held_pass_on_what_they_are_sent(pair):
    kit, written_out = pair
    found = patch_paths(kit, TINY, [["a0.h1"]], ["logits"], held="heads")
    with torch.no_grad():
        written_out.run(written_out.embedded(TINY.corrupted))
        sent = written_out.writes["a0.h1"]
        written_out.run(written_out.embedded(TINY.clean))
        held = dict(written_out.writes)
        stream = held["input"] + sum(held[f"a0.h{h}"] for h in (0, 2, 3)) + sent
        for layer, block in enumerate(written_out.model.layers):
            if layer:
                stream = stream + sum(held[f"a{layer}.h{h}"] for h in range(4))
            stream = stream + block.mlp(block.post_attention_layernorm(stream))
        expected = difference(written_out.head(written_out.model.norm(stream))[-1]).item()
    assert found.scores[0, 0] == pytest.approx(expected, abs=1e-4)
    alone = patch_paths(kit, TINY, [["a0.h1"]], ["logits"]).scores[0, 0]
    assert abs(alone - expected) > 1e-4


# --- circuits -------------------------------------------------------------------------------


def test_faithfulness_goes_from_none_to_all_and_its_areas_are_of_the_curve(pair):
    kit, written_out = pair
    found = edge_scores(kit, TINY)
    graph = found.graph
    ranking = [graph.named(place) for place in graph.ranked(found.scores)]
    sizes = [0, 10, 60, len(ranking)]
    curve = faithfulness(kit, TINY, ranking, sizes=sizes, random=2, seed=1)
    patched = set(ranking[10:])
    exact = difference(written_out.circuit(TINY, patched)).item()
    assert curve.scores[1] == pytest.approx(exact, abs=1e-4)
    share = (exact - curve.corrupted_score) / (curve.clean_score - curve.corrupted_score)
    assert curve.faithfulness[1] == pytest.approx(share, abs=1e-4)
    assert curve.faithfulness[[0, 3]] == pytest.approx([0, 1], abs=1e-4)
    assert curve.random_faithfulness[:, 3] == pytest.approx([1, 1], abs=1e-4)
    shares, heights = np.array(sizes) / len(ranking), curve.faithfulness
    middles = (heights[1:] + heights[:-1]) / 2
    assert curve.cpr == pytest.approx((middles * np.diff(shares)).sum(), abs=1e-4)
    gaps = np.abs(1 - heights)
    expected = ((gaps[1:] + gaps[:-1]) / 2 * np.diff(shares)).sum()
    assert curve.cmd == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("distance", "threshold"), [("score", 0.05), ("kl", 0.001)])
def test_pruning_takes_the_edges_that_a_plain_loop_takes(pair, distance, threshold):
    kit, written_out = pair
    found = edge_scores(kit, TINY)
    graph = found.graph
    edges = [graph.named(place) for place in graph.ranked(found.scores)[:12]]
    reports = []
    pruned = prune(
        kit,
        TINY,
        threshold,
        edges=edges,
        distance=distance,
        progress=lambda done, total: reports.append((done, total)),
    )
    everything = {graph.named(tuple(place)) for place in np.argwhere(graph.edges)}
    clean = written_out.circuit(TINY, set())

    def away(kept):
        logits = written_out.circuit(TINY, everything - kept)
        if distance == "score":
            return abs(difference(logits) - difference(clean)).item()
        target, given = clean.double().log_softmax(-1), logits.double().log_softmax(-1)
        return (target.exp() * (target - given)).sum().item()

    kept, now = set(edges), away(set(edges))
    order = sorted(edges, key=lambda e: (graph.destination(e[1]), graph.source(e[0])))
    for edge in reversed(order):
        then = away(kept - {edge})
        if then - now < threshold:
            kept, now = kept - {edge}, then
    assert set(pruned.edges) == kept
    assert 0 < len(kept) < 12
    assert pruned.distance == pytest.approx(now, abs=1e-4)
    assert reports[0] == (0, 12)
    assert reports[-1] == (12, 12)


# --- nodes ----------------------------------------------------------------------------------


def test_scores_of_nodes_have_the_exact_patterns_of_other_queries_and_keys(pair):
    """In PyTorch: the pattern of a head with its corrupted query, or key, times the gradient there;
    and without the fix, and for outputs, the gradient times the difference."""
    kit, written_out = pair
    model = written_out
    corrected = node_scores(kit, TINY, grad_drop=False)
    names = [node.name for node in corrected.nodes]
    shapes = [forward_values(kit, tokens) for tokens in (TINY.clean, TINY.corrupted)]
    clean, corrupted = shapes
    layer, groups, step = 1, 2, 1e-2
    slope = pattern_slope(kit, layer, clean["pattern"], step)
    scale = model.width**-0.5
    length = len(TINY.clean)
    mask = np.triu(np.full((length, length), -np.inf), 1)

    def pattern(query, key):
        scores = query @ key.swapaxes(-1, -2) * scale + mask
        exps = np.exp(scores - scores.max(-1, keepdims=True))
        return exps / exps.sum(-1, keepdims=True)

    for head in range(4):
        group = head * groups // 4
        own = pattern(clean["query"][head], clean["key"][group])
        other = pattern(corrupted["query"][head], clean["key"][group])
        expected = slope(head, other - own)
        place = names.index(f"a1.h{head}.q")
        assert corrected.scores[place] == pytest.approx(expected, abs=2e-3)
    for group in range(groups):
        expected = 0.0
        for head in (2 * group, 2 * group + 1):
            own = pattern(clean["query"][head], clean["key"][group])
            other = pattern(clean["query"][head], corrupted["key"][group])
            expected += slope(head, other - own)
        place = names.index(f"a1.g{group}.k")
        assert corrected.scores[place] == pytest.approx(expected, abs=2e-3)
    plain = node_scores(kit, TINY, qk_fix=False, grad_drop=False)
    attributed = patch_effects(kit, TINY, method="attribution_patching", direction="noising")
    gap = attributed.corrupted_score - attributed.clean_score
    for head in range(4):
        place = names.index(f"a1.h{head}")
        expected = attributed.effects[1, head] * gap
        assert plain.scores[place] == pytest.approx(expected, abs=1e-4)
    assert abs(plain.scores - corrected.scores).max() > 1e-3


def forward_values(kit: ModelKit, tokens) -> dict[str, np.ndarray]:
    """Queries, keys and the pattern of the second layer, in float64."""
    names = {"query": "query", "key": "key", "pattern": "attention_pattern"}
    hooks = [ActivationHookSpec("1", component, name) for name, component in names.items()]
    found = forward(kit, [tokens], hooks).activations
    return {name: found[name][0].data[0].astype(np.float64) for name in names}


def pattern_slope(kit: ModelKit, layer: int, pattern: np.ndarray, step: float):
    """The change of the score, to first order, with another pattern of one head."""

    def slope(head: int, change: np.ndarray) -> float:
        scores = []
        for sign in (step, -step):
            edit = Intervention(
                str(layer),
                "attention_pattern",
                "replacement",
                heads=(head,),
                value=(pattern[head] + sign * change)[None, None].astype(np.float32),
            )
            logits = forward(kit, [TINY.clean], interventions=[edit]).logits[0, -1]
            scores.append(float(logits[TINY.answer]) - float(logits[TINY.distractor]))
        return (scores[0] - scores[1]) / (2 * step)

    return slope


def test_magnitudes_drop_one_layer_after_another(pair):
    """Of two layers: an MLP of the first by the way past the second, and by no way at all where its
    own layer is dropped."""
    kit, written_out = pair
    found = node_scores(kit, TINY)
    place = [node.name for node in found.nodes].index("m0")
    changes = written_out.changes(TINY)["m0"]
    written_out.run(written_out.embedded(TINY.clean))
    added = {
        name: value.detach()
        for name, value in written_out.writes.items()
        if name[:2] in ("a1", "m1")
    }
    leaf = torch.zeros_like(changes, requires_grad=True)
    stream = written_out.writes["m0"] + written_out.writes["input"]
    stream = stream + sum(written_out.writes[f"a0.h{head}"] for head in range(4))
    logits = written_out.head(written_out.model.norm(stream.detach() + leaf + sum(added.values())))
    difference(logits[-1]).backward()
    expected = abs((leaf.grad * changes).sum().item())
    assert found.magnitudes[place] == pytest.approx(expected, rel=1e-3)
    assert (found.magnitudes >= 0).all()


# --- what cannot be -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("mamba", "layer 0 has no query"),
        ("qwen3_next", "layer 0 has no query"),
        ("deepseek_v3", "beside its queries, keys and values"),
        ("gemma4_text", "something else than the sum"),
        ("nanbeige", "runs 2 times in a pass"),
    ],
)
def test_models_whose_edges_cannot_be_told_apart_are_refused_by_name(architecture, message):
    with pytest.raises(UnsupportedOperationError, match=f"{architecture}.*{message}"):
        edge_scores(tiny_kit(architecture), TINY)


def test_what_is_no_edge_is_said_with_what_exists(pair):
    kit, _ = pair
    unequal = Task([1, 2], [1], 3, 4)
    for call, error, message in (
        (lambda: edge_scores(kit, unequal), UnequalPromptsError, "2 tokens and corrupted 1"),
        (lambda: edge_scores(kit, TINY, method="acdc"), InvalidRequestError, "eap, eap_ig"),
        (lambda: edge_scores(kit, TINY, steps=0), InvalidRequestError, "steps: 0"),
        (lambda: edge_scores(kit, []), InvalidRequestError, "examples: at least one"),
        (
            lambda: faithfulness(kit, TINY, [("a0.h9", "logits")]),
            InvalidRequestError,
            "'a0.h9' is no source of this model; it has a0.h0, a0.h1, a0.h2, a0.h3",
        ),
        (
            lambda: faithfulness(kit, TINY, [("m1", "a0.h0.q")]),
            InvalidRequestError,
            "a0.h0.q does not read m1",
        ),
        (
            lambda: faithfulness(kit, TINY, [("m1", "logits")], sizes=[2]),
            InvalidRequestError,
            "2 is not between 0 and the 1 edges",
        ),
        (
            lambda: prune(kit, TINY, 0.1, edges=[("m0", "m1"), ("m0", "m1")]),
            InvalidRequestError,
            "m0 to m1 is given twice",
        ),
        (lambda: prune(kit, TINY, -1), InvalidRequestError, "threshold: -1"),
        (lambda: patch_paths(kit, TINY, [], ["logits"]), InvalidRequestError, "at least one"),
        (lambda: patch_paths(kit, TINY, [["m0"]], ["m7"]), InvalidRequestError, "no destination"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_probabilities_are_a_score_as_well(pair):
    kit, written_out = pair
    task = Task(TINY.clean, TINY.corrupted, [7, 8], [11], "probability")
    with torch.no_grad():
        shares = written_out.run(written_out.embedded(TINY.clean)).softmax(-1)
    found = edge_scores(kit, task, method="eap")
    expected = (shares[7] + shares[8] - shares[11]).item()
    assert found.clean_score == pytest.approx(expected, abs=1e-6)
    slopes = written_out.slopes(
        task,
        lambda logits: logits.softmax(-1)[[7, 8]].sum() - logits.softmax(-1)[11],
        [1],
        found.graph,
    )
    assert relative(found.scores, slopes) < 1e-4
