"""Neurons, clusters, nearest tokens and beam search in an image, by numpy on the same model."""

import numpy as np
import pytest
from neuroscope import ask, capture

from bridge.client import LMStudioNeuroScopeClient
from systems import System

TEXTS = ("The cat sat on the mat", "Dogs love to play")
PROMPT = "The capital of France is"
LAYER, ONE, OTHER = 8, 124, 700
NEURONS = f"""| analyzer layer one reply |
    analyzer := NeuronAnalyzer for: model;;
    layer := analyzer analyzeLayer: {LAYER} withDataset: #('{TEXTS[0]}' '{TEXTS[1]}');;
    one := analyzer characterizeNeuron: {LAYER} -> {ONE};;
    reply := analyzer compareNeurons: one with: {LAYER} -> {OTHER};;
    {{(0 to: 9) collect: [:each | layer specializationAt: each].
    (layer neuronsWithHighSpecialization: 0.9) size.
    reply at: #score. one primaryFunction. one confidence. one keyFeatures}}"""


def test_neurons_are_specialized_alike_and_one_sided_as_numpy_has_it(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    found, count, score, function, confidence, features = ask(system, engine, NEURONS)
    values = np.abs(
        np.concatenate(
            [capture(engine, text, (LAYER, "mlp_hidden"))[LAYER, "mlp_hidden"][0] for text in TEXTS]
        )
    )
    tokens = len(values)
    sparse = 1 - values.mean(0) ** 2 / (values**2).mean(0)
    sparse = sparse / (1 - 1 / tokens)
    assert found == pytest.approx(sparse[:10], rel=1e-4)
    assert count == (sparse >= 0.9).sum()
    model = engine.health()["model"]
    weights = [
        engine.read_weight("W_out", model, layer=LAYER, neuron=each)["W_out"]
        for each in (ONE, OTHER)
    ]
    norms = np.linalg.norm(weights, axis=1)
    assert score == pytest.approx(weights[0] @ weights[1] / norms.prod(), rel=1e-4)
    effects = engine.promoted_tokens(ONE, LAYER)
    raised, lowered = (
        sum(abs(each["logit"]) for each in effects[kind]) for kind in ("promoted", "suppressed")
    )
    assert confidence == pytest.approx(max(raised, lowered) / (raised + lowered), rel=1e-4)
    kind, verb = ("promoted", "promotes") if raised >= lowered else ("suppressed", "suppresses")
    assert features == [each["text"] for each in effects[kind]]
    assert function.startswith(verb)


def test_tokens_are_nearest_in_the_whole_embedding(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    nearest, parts = ask(
        system,
        engine,
        "{(model embeddingLayer nearestTokens: ' cat' count: 3) collect: [:each | each value]. "
        "((model layerAt: 0) analyzeSubwordComposition: 'unhappiness') "
        "collect: [:each | each at: #contribution]}",
    )
    model = engine.health()["model"]
    rows = engine.read_weight("W_E", model)["W_E"]
    (token,) = engine.tokenize(" cat")["tokens"]
    cosines = rows @ rows[token] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[token])
    assert nearest == pytest.approx(np.sort(np.delete(cosines, token))[:-4:-1], abs=1e-5)
    pieces = rows[engine.tokenize("unhappiness")["tokens"]]
    whole = pieces.sum(0)
    assert parts == pytest.approx(pieces @ whole / (whole @ whole), rel=1e-4)


def test_a_beam_keeps_the_most_probable_of_all_continuations(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    found = ask(
        system,
        engine,
        f"(model generateWithBeamSearch: '{PROMPT}' beamWidth: 2 maxTokens: 2) "
        "collect: [:each | {each at: #tokens. each at: #logProbability}]",
    )
    start = engine.tokenize(PROMPT)["tokens"]

    def following(tokens: list[int], sum_: float) -> list[tuple[list[int], float]]:
        logits = capture(engine, start + tokens)["logits"][-1].astype(np.float64)
        logs = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        best = np.argsort(-logs)[:2]
        return [([*tokens, int(each)], sum_ + logs[each]) for each in best]

    first = following([], 0)
    second = sorted((each for beam in first for each in following(*beam)), key=lambda e: -e[1])
    for (tokens, probability), (expected, total) in zip(found, second[:2], strict=True):
        assert tokens == expected
        assert probability == pytest.approx(total, abs=1e-3)
