"""Models whose layers differ: all layers are those that have what is looked at."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlx_lm.utils import save_model
from neuroscope import ask, capture

from benchmarks.architectures import tiny_config, tiny_model
from benchmarks.words import words
from bridge.circuits import measured_circuit
from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine
from systems import System

TOKENS, CORRUPTED = [3, 31, 4, 15, 9], [3, 31, 4, 26, 9]


@contextmanager
def served(folder: Path, architecture: str, **changes: Any) -> Iterator[LMStudioNeuroScopeClient]:
    """An engine with a tiny random model."""
    config = tiny_config(architecture) | changes
    save_model(folder, tiny_model(architecture, **changes))
    (folder / "config.json").write_text(json.dumps(config))
    words(config["vocab_size"]).save_pretrained(folder)
    with running_engine(str(folder)) as client:
        yield client


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LMStudioNeuroScopeClient]:
    """Only layers 1 and 3 have attention."""
    changes = {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention"] * 2}
    with served(tmp_path_factory.mktemp("hybrid"), "lfm2", **changes) as client:
        yield client


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LMStudioNeuroScopeClient]:
    """Layer 0 has two heads, layer 1 four."""
    changes = {"num_query_heads": [2, 4], "num_kv_heads": [1, 2]}
    with served(tmp_path_factory.mktemp("uneven"), "openelm", **changes) as client:
        yield client


def literal(tokens: list[int]) -> str:
    return f"#({' '.join(map(str, tokens))})"


def test_a_circuit_names_heads_after_the_layers_that_have_them(
    system: System, hybrid: LMStudioNeuroScopeClient
) -> None:
    parts, spelled, discovered = ask(
        system,
        hybrid,
        "| finder circuit examples | finder := CircuitFinder for: model;; "
        "examples := {NeuroScopeCircuitExample "
        f"clean: {literal(TOKENS)} corrupted: {literal(CORRUPTED)} answer: 7 distractor: 9}};; "
        "circuit := finder findCircuitFor: 'heads' examples: examples "
        "method: #activationPatching threshold: -9;; "
        "{circuit components collect: [:each | {each layer. each index. each score}]. "
        "((finder component: 'head_output'; yourself) componentsBy: #activationPatching "
        "over: examples) collect: [:each | {each layer. each index. each score}]. "
        "((finder searchDepth: 8; confidenceThreshold: 0; yourself) "
        "discoverCircuits: #('w3 w31 w4')) first components collect: [:each | each layer]}",
    )
    reply = hybrid.patch_circuit(TOKENS, CORRUPTED, 7, 9)
    assert reply["layers"] == [1, 3]
    assert spelled == parts
    effects = np.array(reply["effects"]["data"])
    scores = {(layer, head): score for layer, head, score in parts}
    assert sorted(scores) == [(layer, head) for layer in (1, 3) for head in range(4)]
    for (layer, head), score in scores.items():
        assert score == pytest.approx(effects[layer // 2, head], rel=1e-4, abs=1e-5)
    assert set(discovered) <= {1, 3}


def test_a_saved_circuit_is_verified_on_a_model_of_its_shape_alone(
    system: System, hybrid: LMStudioNeuroScopeClient, uneven: LMStudioNeuroScopeClient
) -> None:
    example = {"clean": TOKENS, "corrupted": CORRUPTED, "answers": [7], "distractors": [9]}
    parts = [{"layer": 3, "head": 1}, {"layer": 0, "component": "mlp"}]
    circuit = measured_circuit(hybrid, "made up", parts, [example])
    text = circuit.model_dump_json()
    rows, refusal = ask(
        system,
        hybrid,
        f"| saved other | saved := NeuroScopeSavedCircuit fromJson: '{text}';; other := "
        f"TransformerModel remote: (LMStudioRESTClient baseUrl: '{uneven.base_url}');; "
        "{(saved verifyOn: model) rows collect: [:each | {each name. each now}]. "
        "[saved verifyOn: other] on: ShapeMismatchError do: [:error | error messageText]}",
    )
    assert [name for name, _ in rows] == ["logit difference", "circuit", "L3H1", "L0 mlp"]
    effects = [circuit.scores.circuit, *(each.score for each in circuit.components)]
    assert [now for _, now in rows[1:]] == pytest.approx(effects, rel=1e-3, abs=1e-5)
    assert "architecture 'openelm', not 'lfm2'; layers 2, not 4" in refusal


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


def test_no_head_is_left_out_where_layers_have_different_numbers_of_them(
    system: System, uneven: LMStudioNeuroScopeClient
) -> None:
    heads, said = ask(
        system,
        uneven,
        "| analyzer | analyzer := AttentionAnalyzer for: model;; "
        f"{{((analyzer analysisLayers: #(1); yourself) analyzeTokens: {literal(TOKENS)}) heads. "
        f"[(analyzer analysisLayers: #(0 1); yourself) analyzeTokens: {literal(TOKENS)}] "
        "on: ShapeMismatchError do: [:error | error messageText]}",
    )
    assert heads == [0, 1, 2, 3]
    assert said.startswith("the layers have different numbers of heads, 2 4;")
