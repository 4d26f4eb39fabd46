"""Attention heads, neurons and probes in an image, against numpy on Python's own captures."""

import numpy as np
import pytest
import torch
from neuroscope import ask, capture

from bridge.client import LMStudioNeuroScopeClient
from systems import System

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
        f"tokens := NeuroScopeCircuitDataset repeatedTokens: {REPEATED} "
        "vocabulary: 49152 seed: 1;; "
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
    overall, one, least = ask(
        system,
        engine,
        "| analyzer a b c | analyzer := AttentionAnalyzer for: model;; "
        "a := analyzer analyzeText: 'The cat sat on the mat';; "
        "b := analyzer analyzeText: 'The dog sat on the mat';; "
        "c := analyzer compareAttentionPatterns: a with: b;; "
        "{c overallSimilarity. c similarityAt: 3 head: 2. c leastSimilarHeads first name}",
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


TEXTS = ["The cat sat on the mat", "Dogs love to play fetch", "Paris is the capital of France"]
QUOTED = " ".join(f"'{text}'" for text in TEXTS)


@pytest.fixture(scope="module")
def neurons(
    engine: LMStudioNeuroScopeClient, smollm2_reference: torch.nn.Module
) -> dict[str, np.ndarray]:
    """What PyTorch gives layer 8's down projection for each text: [seq, neurons]."""
    found: dict[str, np.ndarray] = {}
    down = smollm2_reference.model.layers[8].mlp.down_proj
    for text in TEXTS:
        kept = down.register_forward_hook(
            lambda _module, inputs, _output, text=text: found.update({text: inputs[0][0].numpy()})
        )
        with torch.no_grad():
            smollm2_reference(torch.tensor([engine.tokenize(text)["tokens"]]))
        kept.remove()
    return found


def test_top_tokens_of_a_neuron_are_the_largest_of_its_activations(
    system: System, engine: LMStudioNeuroScopeClient, neurons: dict[str, np.ndarray]
) -> None:
    found, of_mlp = ask(
        system,
        engine,
        "| analyzer | analyzer := NeuronAnalyzer for: model;; "
        "{(analyzer findTopActivatingTokens: (analyzer layer: 8 neuron: 124) "
        f"fromDataset: #({QUOTED}) count: 4) "
        "collect: [:each | {each token. each position. each activation. each context}]. "
        "(analyzer component: #mlp; activationsOf: (analyzer layer: 8 neuron: 124) "
        f"on: '{TEXTS[0]}')}}",
    )
    cells = []
    for text, values in neurons.items():
        names = engine.tokenize(text)["texts"]
        cells += [(value, names[i], i, text) for i, value in enumerate(values[:, 124])]
    expected = sorted(cells, key=lambda cell: -cell[0])[:4]
    assert [(token, position, context) for token, position, _, context in found] == [
        cell[1:] for cell in expected
    ]
    assert [activation for _, _, activation, _ in found] == pytest.approx(
        [cell[0] for cell in expected], rel=1e-3
    )
    mlp = capture(engine, TEXTS[0], (8, "mlp"))[8, "mlp"][0, :, 124]
    assert of_mlp == pytest.approx(mlp, rel=1e-5)


def test_the_five_most_active_neurons_of_a_layer_are_pytorch_s(
    system: System, engine: LMStudioNeuroScopeClient, neurons: dict[str, np.ndarray]
) -> None:
    found = ask(
        system,
        engine,
        "| analyzer | analyzer := NeuronAnalyzer for: model;; "
        f"(analyzer mostActiveNeurons: 5 layer: 8 on: '{TEXTS[0]}') "
        "collect: [:each | {each key key. each key value. each value}]",
    )
    strengths = np.abs(neurons[TEXTS[0]]).mean(0)
    expected = np.argsort(-strengths)[:5]
    assert [(layer, index) for layer, index, _ in found] == [(8, index) for index in expected]
    assert [value for *_, value in found] == pytest.approx(strengths[expected], rel=1e-3)


def test_a_neuron_s_examples_are_the_texts_in_which_it_is_most_active(
    system: System, engine: LMStudioNeuroScopeClient, neurons: dict[str, np.ndarray]
) -> None:
    found = ask(
        system,
        engine,
        "| analyzer | analyzer := NeuronAnalyzer for: model;; "
        "(analyzer maxActivatingExamples: (analyzer layer: 8 neuron: 124) "
        f"fromDataset: #({QUOTED}) count: 2) collect: [:each | "
        "{each text. each position. each token. each activation. each activations. "
        "each window: 1}]",
    )
    strongest = sorted(TEXTS, key=lambda text: -neurons[text][:, 124].max())[:2]
    assert [text for text, *_ in found] == strongest
    for text, position, token, activation, activations, window in found:
        values, names = neurons[text][:, 124], engine.tokenize(text)["texts"]
        assert position == values.argmax()
        assert token == names[position]
        assert activation == pytest.approx(values.max(), rel=1e-3)
        assert activations == pytest.approx(values, abs=1e-4)
        assert window == "".join(names[max(0, position - 1) : position + 2])


def test_a_neuron_promotes_what_its_output_weights_say(
    system: System, engine: LMStudioNeuroScopeClient, smollm2_reference: torch.nn.Module
) -> None:
    promoted, suppressed, refused = ask(
        system,
        engine,
        "| analyzer neuron | analyzer := NeuronAnalyzer for: model;; "
        "neuron := analyzer layer: 8 neuron: 124;; "
        "{(analyzer promotedTokens: neuron count: 5) collect: [:each | {each key. each value}]. "
        "(analyzer suppressedTokens: neuron count: 5) collect: [:each | {each key. each value}]. "
        "[analyzer component: #mlp; promotedTokens: neuron count: 5] "
        "on: UnknownComponentError do: [:error | error messageText]}",
    )
    out = smollm2_reference.model.layers[8].mlp.down_proj.weight[:, 124]
    scaled = out * smollm2_reference.model.norm.weight
    logits = (smollm2_reference.lm_head.weight @ scaled).detach().numpy()
    for found, order in ((promoted, np.argsort(-logits)), (suppressed, np.argsort(logits))):
        ids = order[:5].tolist()
        texts = [engine.detokenize([token])["text"] for token in ids]
        assert [text for text, _ in found] == texts
        assert [logit for _, logit in found] == pytest.approx(logits[ids], rel=1e-3)
    assert "only neurons of #mlpHidden" in refused


def test_neurons_of_a_layer_are_compared_and_the_weak_ones_found(
    system: System, engine: LMStudioNeuroScopeClient, neurons: dict[str, np.ndarray]
) -> None:
    dead, correlation, summaries, there = ask(
        system,
        engine,
        "| analyzer | analyzer := NeuronAnalyzer for: model layer: 8;; "
        f"{{(analyzer deadNeurons: 8 fromDataset: #({QUOTED}) below: 0.2) "
        "collect: [:each | each value]. "
        f"analyzer correlationOf: 124 with: 8 -> 700 fromDataset: #({QUOTED}). "
        f"(analyzer analyzeActivationPatterns: 124 across: #({QUOTED})) values asArray "
        "collect: [:each | {each mean. each standardDeviation. each summary}]. "
        "{8 -> 1535. 8 -> 1536. 30 -> 0} "
        "collect: [:each | analyzer validateNeuronSpecification: each]}",
    )
    over_texts = np.concatenate(list(neurons.values()))
    strongest = np.abs(over_texts).max(0)
    assert 0 < len(dead) < 1536
    assert dead == np.flatnonzero(strongest < 0.2).tolist()
    expected = np.corrcoef(over_texts[:, 124], over_texts[:, 700])[0, 1]
    assert correlation == pytest.approx(expected, abs=1e-4)
    for text, (mean, deviation, summary) in zip(TEXTS, summaries, strict=True):
        values = neurons[text][:, 124]
        assert (mean, deviation) == pytest.approx((values.mean(), values.std()), abs=1e-4)
        assert f"most {values.max():.3f} at " in summary
    assert there == [True, False, False]


def test_a_neuron_matters_as_much_as_the_pass_without_it_differs(
    system: System, engine: LMStudioNeuroScopeClient, smollm2_reference: torch.nn.Module
) -> None:
    impact, none, refused = ask(
        system,
        engine,
        "| analyzer baseline | analyzer := NeuronAnalyzer for: model;; "
        f"baseline := model forward: '{TEXTS[2]}';; "
        "{analyzer computeImpact: baseline vs: (analyzer testNeuronImportance: 8 -> 124 "
        f"on: '{TEXTS[2]}' clampedTo: 9). "
        "analyzer computeImpact: baseline vs: baseline. "
        f"[analyzer testNeuronImportance: 8 -> 124 on: '{TEXTS[2]}' using: #melting] "
        "on: Error do: [:error | error messageText]}",
    )
    ids = torch.tensor([engine.tokenize(TEXTS[2])["tokens"]])
    down = smollm2_reference.model.layers[8].mlp.down_proj

    def clamp(_module, inputs):
        changed = inputs[0].clone()
        changed[..., 124] = 9
        return (changed,)

    with torch.no_grad():
        plain = smollm2_reference(ids).logits[0, -1].softmax(-1)
        hook = down.register_forward_pre_hook(clamp)
        other = smollm2_reference(ids).logits[0, -1].softmax(-1)
        hook.remove()
    assert impact == pytest.approx(float((plain - other).abs().sum() / 2), rel=1e-3)
    assert impact > 0.01
    assert none == 0
    assert "there is zeroing" in refused


TWICE = "The cat sat on the mat and the cat saw the mat"


def pattern_records(
    weights: np.ndarray, tokens: list[str], threshold: float
) -> dict[str, dict[str, object]]:
    """What the definitions say of a layer's weights [heads, query, key], by kind of pattern."""
    count = len(tokens)
    earlier = {q: [k for k in range(q) if tokens[k] == tokens[q]] for q in range(count)}
    kinds = {
        "previousToken": {q: [q - 1] for q in range(1, count)},
        "firstToken": {q: [0] for q in range(1, count)},
        "copying": {q: keys for q, keys in earlier.items() if keys},
        "induction": {q: [k + 1 for k in keys] for q, keys in earlier.items() if keys},
    }
    found = {}
    for kind, places in kinds.items():
        shares = np.array([weights[:, q, keys].sum(-1) for q, keys in places.items()])
        head = int(shares.mean(0).argmax())
        found[kind] = {
            "head": head,
            "strength": shares[:, head].mean(),
            "confidence": (shares[:, head] >= threshold).mean(),
            "instances": {(q, k): weights[head, q, k] for q, keys in places.items() for k in keys},
        }
    return found


def test_a_layers_patterns_are_those_of_its_strongest_heads(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    tokens, found = ask(
        system,
        engine,
        "| analyzer output | analyzer := AttentionAnalyzer new model: model; "
        "patternTypes: #(#previousToken #induction #copying #firstToken #syntactic); "
        "threshold: 0.3; yourself;; "
        f"output := model capture: (model tokenizer encode: '{TWICE}') layers: #(18) "
        "components: #(#attentionWeights);; {output texts. analyzer analyzeLayer: 18 "
        "weights: (output cachedActivations at: 18 -> #attentionWeights) tokens: output texts}",
    )
    weights = capture(engine, TWICE, (18, "attention_pattern"))[18, "attention_pattern"][0]
    expected = pattern_records(weights, tokens, 0.3)
    assert found.keys() == expected.keys()
    for kind, record in expected.items():
        assert found[kind]["head"] == record["head"]
        for name in ("strength", "confidence"):
            assert found[kind][name] == pytest.approx(record[name], abs=1e-5)
        cells = {(c["from"], c["to"]): c["weight"] for c in found[kind]["instances"]}
        assert cells == pytest.approx(record["instances"], abs=1e-5)
        assert list(cells.values()) == sorted(cells.values(), reverse=True)
    assert 0 < found["induction"]["confidence"] < 1
