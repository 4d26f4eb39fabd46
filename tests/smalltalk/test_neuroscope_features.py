"""Feature sets in an image: what is active at each token, and features that are changed."""

import re
from pathlib import Path

import numpy as np
import pytest
from neuroscope import ask, capture
from sae import FEATURES, LAYER, features_of
from safetensors.numpy import load_file

from bridge.client import LMStudioNeuroScopeClient
from systems import System, answer

TEXT = "The cat sat on the mat"
TEMPLATES = Path(__file__).parents[2] / "templates/neuroscope"
CLASSES = ["FeatureSet", "SparseFeature", "SparseFeatureHook", "NeuroScopeTokenFeatures"]


@pytest.fixture(scope="module", autouse=True)
def loaded(engine: LMStudioNeuroScopeClient, features_folder: Path) -> None:
    """The set ``sae``."""
    engine.load_features(str(features_folder / "sae"))


@pytest.fixture(scope="module")
def features(engine: LMStudioNeuroScopeClient, features_folder: Path) -> np.ndarray:
    """The features at each token of the text, by numpy."""
    residual = capture(engine, TEXT, (LAYER, "residual"))[LAYER, "residual"]
    return features_of(features_folder / "sae", residual[0])


def test_a_set_says_which_features_are_active_at_each_token(
    system: System, engine: LMStudioNeuroScopeClient, features: np.ndarray
) -> None:
    about, tokens, indices, values, top, alone = ask(
        system,
        engine,
        f"| set found | set := model featureSetNamed: 'sae';; found := set on: '{TEXT}';; "
        "{{set name. set size. set layers. set reads. set architecture}. "
        "found collect: [:each | each token]. found collect: [:each | each indices]. "
        "found collect: [:each | each values]. "
        "(found last largest: 3) collect: [:each | {each key index. each value}]. "
        f"(set at: 9) activationsOn: '{TEXT}'}}",
    )
    assert about == ["sae", FEATURES, [LAYER], [f"blocks.{LAYER}.hook_resid_post"], "standard"]
    assert tokens == engine.tokenize(TEXT)["texts"]
    for position, (here, active) in enumerate(zip(indices, values, strict=True)):
        assert here == np.nonzero(features[position])[0].tolist()
        assert active == pytest.approx(features[position][here].tolist(), rel=1e-3, abs=1e-4)
    largest = np.argsort(-features[-1])[:3]
    assert [index for index, _ in top] == largest.tolist()
    assert alone == pytest.approx(features[:, 9].tolist(), rel=1e-3, abs=1e-4)


def test_a_logit_is_taken_apart_by_features(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    wanted = engine.logit_attribution(
        TEXT, " and", by="feature", feature_sets=["sae"], top_k=20, model="smollm2"
    )
    listed = [each for each in wanted["terms"] if each["part"] == "feature"]
    first = max(listed, key=lambda each: abs(each["value"]))
    value = ask(
        system,
        engine,
        f"(model attribute: ' and' over: '{TEXT}' features: {{model featureSetNamed: 'sae'}}) "
        f"at: 'L{LAYER}F{first['index']}'",
    )
    assert value == pytest.approx(first["value"], rel=1e-3)


def test_features_are_changed_in_passes_and_generations(
    system: System,
    engine: LMStudioNeuroScopeClient,
    features_folder: Path,
    features: np.ndarray,
) -> None:
    decoder = load_file(features_folder / "sae/sae_weights.safetensors")["W_dec"]
    strongest = int(features[-1].argmax())
    steered, ablated, none = ask(
        system,
        engine,
        "| set run | set := model featureSetNamed: 'sae';; "
        "run := [:hook | | text | model hookManager addHook: hook. "
        f"text := model generate: '{TEXT}' maxTokens: 4. model hookManager removeAllHooks. text];; "
        "{run value: ((set at: 7) steerBy: 900). "
        f"(model forward: '{TEXT}' interventions: "
        f"((set at: {strongest}) ablate interventionsOn: model)) logits data first: 5. "
        "model featureSets first = nil}",
    )
    addition = {
        "layer_name": str(LAYER),
        "component": "residual",
        "operation": "addition",
        "value": {"shape": [576], "data": (900 * decoder[7]).tolist()},
    }
    reply = engine.create_completion_with_activations(
        prompt=TEXT, interventions=[addition], max_tokens=4
    )
    assert steered == TEXT + reply["choices"][0]["text"]
    change = -features[:, [strongest]] * decoder[strongest]
    removal = {
        **addition,
        "value": {"shape": list(change.shape), "data": change.tolist()},
    }
    logits = engine.forward(TEXT, [], interventions=[removal], activation_format="array")["logits"]
    assert ablated == pytest.approx(np.ravel(logits["data"])[:5].tolist(), abs=2e-3)
    assert none is False


def test_the_example_of_each_class_comment_runs(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    blocks = []
    for name in CLASSES:
        source = (TEMPLATES / f"{name}.st").read_text()
        example = re.search(r"^Example:\n(.*?)!$", source, re.S | re.M)[1]
        usual = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
        blocks.append(f"[{example.replace('LMStudioRESTClient default', usual)}] value")
    printed = answer(system, f"{{{'. '.join(blocks)}}} collect: [:each | each printString]")
    assert len(printed) == len(CLASSES)
    assert "ModelOutput" in printed[2]
