"""A feature in an image has its examples, and the tokens that it promotes."""

from pathlib import Path

import numpy as np
import pytest
from neuroscope import ask, capture
from sae import LAYER, features_of

from bridge.client import LMStudioNeuroScopeClient
from systems import System

TEXTS = ["The cat sat on the mat.", "She paid the bill and left."]


def test_a_feature_answers_its_examples_and_the_tokens_that_it_promotes(
    system: System, engine: LMStudioNeuroScopeClient, features_folder: Path
) -> None:
    if not any(each["id"] == "sae" for each in engine.list_features()["feature_sets"]):
        engine.load_features(str(features_folder / "sae"))
    texts = " ".join(f"'{text}'" for text in TEXTS)
    examples, promoted, suppressed = ask(
        system,
        engine,
        "| feature | feature := (model featureSetNamed: 'sae') at: 41;; "
        f"{{(feature examplesIn: #({texts})) collect: [:each | "
        "{each token. each position. each activation. each tokens. each activations}]. "
        "feature promotedTokens collect: [:each | {each key. each value}]. "
        "feature suppressedTokens collect: [:each | {each key. each value}]}",
    )
    expected = []
    for text in TEXTS:
        residual = capture(engine, text, (LAYER, "residual"))[LAYER, "residual"]
        values = features_of(features_folder / "sae", residual[0])[:, 41]
        peak = 1 + int(values[1:].argmax())  # the first position does not count
        tokens = engine.tokenize(text)["texts"]
        around = slice(max(0, peak - 16), peak + 9)
        expected.append((values[peak], tokens[peak], peak - around.start, tokens[around], values))
    expected.sort(key=lambda each: -each[0])
    assert len(examples) == len(expected)
    for found, (value, token, position, tokens, values) in zip(examples, expected, strict=True):
        assert found[:2] == [token, position]
        assert found[2] == pytest.approx(float(value), rel=1e-3)
        assert found[3] == tokens
        np.testing.assert_allclose(found[4], values[: len(tokens)], rtol=1e-3, atol=1e-3)
    reply = engine.feature_tokens("sae", 41)
    for found, told in ((promoted, reply["promoted"]), (suppressed, reply["suppressed"])):
        assert [text for text, _ in found] == [each["text"] for each in told]
        assert [logit for _, logit in found] == pytest.approx([each["logit"] for each in told])
