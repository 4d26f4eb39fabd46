"""NeuroScope's lens by its documented settings, and relations of words, by Python's captures."""

import numpy as np
import pytest
from neuroscope import ask, capture

from bridge.client import LMStudioNeuroScopeClient
from systems import System

TEXT = "The quick fox jumped over the dog"
LENS = f"""| lens empty shown |
    lens := InteractiveLens for: model;;
    empty := lens validateVisualizationState descriptions;;
    lens analyzeText: '{TEXT}'; setLayerLayout: #horizontal;;
    lens setAnalysisMode: #probeTraining; configureAttentionHeadGrouping: #byFunction;;
    lens enableHeadGroupLabels: true; enableNeuronActivationDisplay: 8 -> 124;;
    lens enableRealTimeAnalysis;;
    model forward: '{TEXT}';;
    shown := lens pictures;;
    {{empty.
    shown collect: [:each | each title].
    (shown at: 2) grids first shape.
    (shown at: 2) grids first asArray.
    (shown at: 3) grids first asArray.
    (lens getCurrentAnalysis at: #firstToken) notEmpty.
    (lens attentionPicture nameOf: 1).
    [lens setAnalysisMode: #guessing. ''] on: InvalidDataError do: [:error | error messageText]}}"""


def test_the_lens_shows_what_its_mode_says(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    empty, titles, shape, changes, neuron, seen, name, refused = ask(system, engine, LENS)
    assert empty == ["no text: analyzeText: comes first"]
    assert titles[0].startswith("norm of the residual stream")
    assert titles[1] == "norm of what a layer adds to the residual stream"
    layers = range(30)
    found = capture(engine, TEXT, *((layer, "residual") for layer in layers), (8, "mlp_hidden"))
    stream = np.stack([found[layer, "residual"][0] for layer in layers])
    norms = np.linalg.norm(np.diff(stream, axis=0), axis=2)
    assert shape == list(norms.T.shape)
    assert np.ravel(changes) == pytest.approx(norms.T.ravel(), rel=1e-3)
    assert np.ravel(neuron) == pytest.approx(found[8, "mlp_hidden"][0][:, 124], abs=1e-4)
    assert seen
    assert name.startswith("head ")
    assert len(name.split()) == 3
    assert "there are exploration circuitDiscovery interventionAnalysis probeTraining" in refused


def test_words_of_closed_classes_are_related_by_the_strongest_head(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    found = ask(
        system,
        engine,
        f"((AttentionAnalyzer for: model) threshold: 0; detectSyntacticAttention: '{TEXT}') "
        "collect: [:each | {each relationshipType. each sourceToken. each targetToken. "
        "each strength. each layer. each head}]",
    )
    pieces = [text.strip().lower() for text in engine.tokenize(TEXT)["texts"]]
    patterns = capture(engine, TEXT, *((layer, "attention_pattern") for layer in range(30)))
    assert ("preposition", "dog", "over") in [tuple(each[:3]) for each in found]
    assert ("determiner", "dog", "the") in [tuple(each[:3]) for each in found]
    for _, source, target, strength, layer, head in found:
        query = len(pieces) - 1 - pieces[::-1].index(source)
        key = query - 1 - pieces[:query][::-1].index(target)
        shares = np.stack(
            [patterns[each, "attention_pattern"][0][:, query, key] for each in range(30)]
        )
        assert strength == pytest.approx(shares.max(), abs=1e-5)
        assert np.unravel_index(shares.argmax(), shares.shape) == (layer, head)
