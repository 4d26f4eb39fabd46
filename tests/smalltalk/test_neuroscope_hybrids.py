"""Models of which only some layers have attention: all layers are then those that have it."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from mlx_lm.utils import save_model
from neuroscope import ask, capture
from systems import System

from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine
from tests.engine.architectures import tiny_config, tiny_model
from tests.engine.words import words

KINDS = ["conv", "full_attention"] * 2
TOKENS, CORRUPTED = [3, 31, 4, 15, 9], [3, 31, 4, 26, 9]


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LMStudioNeuroScopeClient]:
    """An engine with a tiny random model of which only layers 1 and 3 have attention."""
    folder = tmp_path_factory.mktemp("hybrid") / "lfm2"
    changes = {"num_hidden_layers": len(KINDS), "layer_types": KINDS}
    config = tiny_config("lfm2") | changes
    save_model(folder, tiny_model("lfm2", **changes))
    (folder / "config.json").write_text(json.dumps(config))
    words(config["vocab_size"]).save_pretrained(folder)
    with running_engine(str(folder)) as client:
        yield client


def literal(tokens: list[int]) -> str:
    return f"#({' '.join(map(str, tokens))})"


def test_a_circuit_names_heads_after_the_layers_that_have_them(
    system: System, hybrid: LMStudioNeuroScopeClient
) -> None:
    parts, discovered = ask(
        system,
        hybrid,
        "| finder circuit | finder := CircuitFinder for: model;; "
        "circuit := finder findCircuitFor: 'heads' examples: {CircuitExample "
        f"clean: {literal(TOKENS)} corrupted: {literal(CORRUPTED)} answer: 7 distractor: 9}} "
        "method: #activationPatching threshold: -9;; "
        "{circuit components collect: [:each | {each layer. each index. each score}]. "
        "((finder searchDepth: 8; confidenceThreshold: 0; yourself) "
        "discoverCircuits: #('w3 w31 w4')) first components collect: [:each | each layer]}",
    )
    reply = hybrid.patch_circuit(TOKENS, CORRUPTED, 7, 9)
    assert reply["layers"] == [1, 3]
    effects = np.array(reply["effects"]["data"])
    scores = {(layer, head): score for layer, head, score in parts}
    assert sorted(scores) == [(layer, head) for layer in (1, 3) for head in range(4)]
    for (layer, head), score in scores.items():
        assert score == pytest.approx(effects[layer // 2, head], rel=1e-4, abs=1e-5)
    assert set(discovered) <= {1, 3}


def test_an_analyzer_looks_at_the_layers_that_have_attention(
    system: System, hybrid: LMStudioNeuroScopeClient
) -> None:
    layers, names = ask(
        system,
        hybrid,
        "| analyzer | analyzer := AttentionAnalyzer for: model;; analyzer threshold: 0;; "
        f"{{(analyzer analyzeTokens: {literal(TOKENS)}) layers. "
        f"(analyzer detectPreviousTokenHeads: {literal(TOKENS)}) collect: [:each | each name]}}",
    )
    patterns = capture(hybrid, TOKENS, (1, "attention_pattern"), (3, "attention_pattern"))
    later = np.arange(1, len(TOKENS))
    scores = {
        f"L{layer}H{head}": patterns[layer, "attention_pattern"][0, head, later, later - 1].mean()
        for layer in (1, 3)
        for head in range(4)
    }
    assert layers == [1, 3]
    assert names == sorted(scores, key=scores.__getitem__, reverse=True)


def test_a_hook_on_all_layers_is_on_those_that_have_what_it_looks_at(
    system: System, hybrid: LMStudioNeuroScopeClient
) -> None:
    attention, residual, unknown = ask(
        system,
        hybrid,
        "{(Hook layer: #all component: #attentionWeights) pointIdsOn: model. "
        "(Hook layer: #all component: #residual) pointIdsOn: model. "
        "[(Hook layer: #all component: #router) pointIdsOn: model] "
        "on: UnknownComponentError do: [:error | error messageText]}",
    )
    assert attention == [f"layer_{layer}_attention_pattern" for layer in (1, 3)]
    assert residual == [f"layer_{layer}_residual" for layer in range(4)]
    assert unknown.startswith("no component router; there are")
