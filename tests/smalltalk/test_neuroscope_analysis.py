"""Attention heads, neurons and probes in an image, against numpy on Python's own captures."""

import numpy as np
import pytest
from neuroscope import ask, capture
from systems import System, answer

from bridge.client import LMStudioNeuroScopeClient

LAYERS, HEADS = 30, 9
REPEATED = 12


def park_miller(count: int, vocabulary: int, seed: int) -> list[int]:
    """The data set's random tokens, by the generator that its comment names."""
    tokens = []
    for _ in range(count):
        seed = seed * 16807 % (2**31 - 1)
        tokens.append(1000 + seed % (vocabulary - 1000))
    return tokens


@pytest.fixture(scope="module")
def repeated() -> list[int]:
    """Random tokens, and the same again."""
    return park_miller(REPEATED, 49152, 1) * 2


@pytest.fixture(scope="module")
def patterns(engine: LMStudioNeuroScopeClient, repeated: list[int]) -> np.ndarray:
    """Attention over the repeated tokens: [layers, heads, query, key]."""
    places = [(layer, "attention_pattern") for layer in range(LAYERS)]
    found = capture(engine, repeated, *places)
    return np.stack([found[place][0] for place in places])


def ranked(scores: np.ndarray, threshold: float) -> list[str]:
    order = np.argsort(-scores.ravel(), kind="stable")
    cells = [divmod(int(index), HEADS) for index in order]
    return [f"L{layer}H{head}" for layer, head in cells if scores[layer, head] >= threshold]


def test_induction_and_previous_token_heads_are_scored_as_in_numpy(
    system: System, engine: LMStudioNeuroScopeClient, repeated: list[int], patterns: np.ndarray
) -> None:
    tokens, induction, previous, names, previous_names = ask(
        system,
        engine,
        "| analyzer tokens analysis | analyzer := AttentionAnalyzer for: model;; "
        f"tokens := CircuitDataset repeatedTokens: {REPEATED} vocabulary: 49152 seed: 1;; "
        "analysis := analyzer analyzeTokens: tokens;; "
        "{tokens. analysis inductionScores data. analysis previousTokenScores data. "
        "(analyzer detectInductionHeads: tokens) collect: [:each | each name]. "
        "(analyzer detectPreviousTokenHeads: tokens) collect: [:each | each name]}",
    )
    queries = np.arange(REPEATED, 2 * REPEATED)
    induction_scores = patterns[:, :, queries, queries - REPEATED + 1].mean(-1)
    later = np.arange(1, 2 * REPEATED)
    previous_scores = patterns[:, :, later, later - 1].mean(-1)
    assert tokens == repeated
    assert induction == pytest.approx(induction_scores.ravel(), abs=1e-5)
    assert previous == pytest.approx(previous_scores.ravel(), abs=1e-5)
    assert names == ranked(induction_scores, 0.4)
    assert previous_names == ranked(previous_scores, 0.4)
    assert names[0] == "L18H6"
    assert max(map(abs, np.subtract(induction, previous))) > 0.5


def test_a_pattern_is_found_by_layer_and_head(
    system: System, engine: LMStudioNeuroScopeClient, repeated: list[int], patterns: np.ndarray
) -> None:
    tokens = " ".join(map(str, repeated))
    data, again, entropies, picture = ask(
        system,
        engine,
        f"| a analyzer | analyzer := AttentionAnalyzer for: model;; "
        f"a := analyzer analyzeTokens: #({tokens}) layers: #(5 18) heads: #(6 3);; "
        "{(a attentionAt: 18 head: 6) data. (analyzer attentionAt: 5 head: 3) data. "
        "a entropies data. "
        "AttentionVisualizer new renderAttentionMatrix: (a attentionAt: 18 head: 6)}",
    )
    assert data == pytest.approx(patterns[18, 6].ravel(), abs=1e-6)
    assert again == pytest.approx(patterns[5, 3].ravel(), abs=1e-6)
    chosen = patterns[[5, 18]][:, [6, 3]]
    logs = np.log(np.where(chosen > 0, chosen, 1))
    assert entropies == pytest.approx(-(chosen * logs).sum(-1).mean(-1).ravel(), rel=1e-4)
    rows = picture.replace("\r", "\n").rstrip("\n").split("\n")
    assert len(rows) == 2 * REPEATED
    shades = " .:-=+*#%@"
    drawn = [[shades.index(letter) for letter in row[13:-1]] for row in rows]
    assert np.array_equal(drawn, np.minimum(patterns[18, 6] * 10, 9).astype(int))


def test_patterns_of_two_texts_are_compared_by_their_cosine(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    overall, one, least, different = ask(
        system,
        engine,
        "| analyzer a b c | analyzer := AttentionAnalyzer for: model;; "
        "a := analyzer analyzeText: 'The cat sat on the mat';; "
        "b := analyzer analyzeText: 'The dog sat on the mat';; "
        "c := analyzer compareAttentionPatterns: a with: b;; "
        "{c overallSimilarity. c similarityAt: 3 head: 2. c leastSimilarHeads first name. "
        "[analyzer compareAttentionPatterns: a with: (analyzer analyzeText: 'The')] "
        "on: ShapeMismatchError do: [:error | error messageText]}",
    )
    places = [(layer, "attention_pattern") for layer in range(LAYERS)]
    texts = ("The cat sat on the mat", "The dog sat on the mat")
    found = [capture(engine, text, *places) for text in texts]
    mine, its = (
        np.stack([f[p][0] for p in places]).reshape(LAYERS, HEADS, -1).astype(float) for f in found
    )
    norms = np.linalg.norm(mine, axis=-1) * np.linalg.norm(its, axis=-1)
    cosines = (mine * its).sum(-1) / norms
    assert overall == pytest.approx(cosines.mean(), rel=1e-5)
    assert one == pytest.approx(cosines[3, 2], rel=1e-5)
    assert least == ranked(1 - cosines, -1)[0]
    assert "6 and of 1 tokens" in different


def test_patterns_are_found_in_what_a_generation_captured(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    found = ask(
        system,
        engine,
        "| result | result := client generateWithActivations: 'The cat sat on the mat' "
        "hooks: {client hookForLayer: 5 component: #attentionPattern. "
        "client hookForLayer: 5 component: #residual} maxTokens: 3 temperature: 0;; "
        "(ActivationAnalyzer for: (result at: 'activations')) findAttentionPatterns "
        "collect: [:each | {each type. each layer. each index. each score}]",
    )
    hook = {"layer_name": "5", "component": "attention_pattern", "hook_id": "p"}
    reply = engine.generate_with_activations(
        "The cat sat on the mat", [hook], max_tokens=3, temperature=0, activation_format="array"
    )
    rows: dict[str, list[np.ndarray]] = {"previousToken": [], "firstToken": [], "currentToken": []}
    for record in reply["activations"]["p"]:
        data = np.array(record["data"])[0]
        for row in range(data.shape[1]):
            position = data.shape[2] - data.shape[1] + row
            if position:
                rows["previousToken"].append(data[:, row, position - 1])
                rows["firstToken"].append(data[:, row, 0])
                rows["currentToken"].append(data[:, row, position])
    expected = {
        (kind, 5, head): score
        for kind, values in rows.items()
        for head, score in enumerate(np.mean(values, 0))
        if score >= 0.5
    }
    assert {tuple(place): score for *place, score in found} == pytest.approx(expected, abs=1e-5)
    assert len(found) > 2


def test_where_no_pattern_was_captured_none_is_found(system: System) -> None:
    said = system.run(
        "(ActivationAnalyzer for: (LMStudioRecord withAll: {'r' -> {(ActivationTensor zeros: "
        "#(1 2 3)) record: (LMStudioRecord withAll: {'component' -> 'residual'}); yourself}})) "
        "findAttentionPatterns size printString"
    )
    assert said.splitlines()[-1] == "0"


def test_top_tokens_of_a_neuron_are_the_largest_of_its_activations(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    texts = ["The cat sat on the mat", "Dogs love to play fetch"]
    quoted = " ".join(f"'{text}'" for text in texts)
    found = ask(
        system,
        engine,
        "| analyzer | analyzer := NeuronAnalyzer for: model;; "
        "(analyzer findTopActivatingTokens: (analyzer layer: 8 neuron: 124) "
        f"fromDataset: #({quoted}) count: 4) "
        "collect: [:each | {each token. each position. each activation. each context}]",
    )
    cells = []
    for text in texts:
        values = capture(engine, text, (8, "mlp"))[8, "mlp"][0, :, 124]
        names = engine.tokenize(text)["texts"]
        cells += [(value, names[i], i, text) for i, value in enumerate(values)]
    expected = sorted(cells, key=lambda cell: -cell[0])[:4]
    assert [(token, position, context) for token, position, _, context in found] == [
        cell[1:] for cell in expected
    ]
    assert [activation for _, _, activation, _ in found] == pytest.approx(
        [cell[0] for cell in expected], rel=1e-5
    )


def test_a_probe_stands_where_the_regularised_loss_is_least(system: System) -> None:
    """At the least of a smooth convex loss its gradient is zero."""
    random = np.random.default_rng(0)
    inputs = np.round(random.normal(size=(24, 6)), 2)
    labels = np.where(inputs[:, 0] + 0.5 * inputs[:, 1] > 0, "up", "down")
    labels[3] = "level"
    penalty = 0.05
    rows = " ".join(f"#({' '.join(map(str, row))})" for row in inputs)
    names = " ".join(f"'{label}'" for label in labels)
    weights, biases, classes, accuracy, one = answer(
        system,
        f"| probe x | x := ActivationTensor data: #({rows}) shape: #(24 6);; "
        f"probe := LinearProbe input: x labels: #({names}) regularization: {penalty};; "
        "probe train;; {probe weights data. probe biases. probe classes. "
        f"probe evaluate: x -> #({names}). probe predict: (x at: 3)}}",
    )
    weight = np.array(weights).reshape(3, 6)
    extended = np.column_stack([inputs, np.ones(24)])
    for name, direction, bias in zip(classes, weight, biases, strict=True):
        w = np.append(direction, bias)
        errors = 1 / (1 + np.exp(-extended @ w)) - (labels == name)
        assert extended.T @ errors / 24 + penalty * w == pytest.approx(0, abs=1e-6)
    scores = extended @ np.column_stack([weight, biases]).T
    predicted = np.array(classes)[scores.argmax(1)]
    assert accuracy == pytest.approx((predicted == labels).mean())
    assert one == predicted[3]


def test_a_probe_tells_names_from_verbs_in_a_residual_stream(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    accuracy, missing = ask(
        system,
        engine,
        "| tokens labels probe words | words := #(' Mary' ' ran' ' John' ' ate' ' Tom' ' went' "
        "' Anna' ' saw' ' Paul' ' took');; "
        "tokens := words collect: [:each | model tokenizer tokenOf: each];; "
        "model forward: tokens;; labels := (1 to: 10) asArray collect: [:each | "
        "each odd ifTrue: ['name'] ifFalse: ['verb']];; "
        "probe := LinearProbe input: (model activationsAt: #residual layer: 3) labels: labels "
        "regularization: 0.01;; "
        "{[probe train. probe evaluate: (model activationsAt: #residual layer: 3) -> labels] value."
        "[LinearProbe input: (ActivationTensor zeros: #(3 2)) labels: #(1 2) regularization: 1] "
        "on: ShapeMismatchError do: [:error | error messageText]}",
    )
    assert accuracy == 1
    assert missing == "2 labels for 3 examples"
