"""What hooks cost is measured, and what they may take is limited."""

import pytest
from neuroscope import ask
from systems import System, answer

from bridge.client import LMStudioNeuroScopeClient

WAIT = (
    "wait := [:activation | | end | end := NeuroScopePlatform current milliseconds + 30. "
    "[NeuroScopePlatform current milliseconds < end] whileTrue: []. activation]"
)
CAUGHT = "on: {} do: [:error | error messageText]"


def test_metrics_are_those_of_the_executions_that_were_added(system: System) -> None:
    found, slowest, nothing, whole = answer(
        system,
        "| metrics one other record empty | metrics := NeuroScopeHookMetrics ofHooks;; "
        "one := Hook named: 'one';; other := Hook named: 'other';; "
        "metrics add: 4 of: one; add: 9 of: other; add: 8 of: one;; "
        "metrics whole: [3];; record := metrics asRecord;; "
        "empty := NeuroScopeHookMetrics ofHooks asRecord;; "
        "{{record at: #executionCount. record at: #totalExecutionTime. "
        "record at: #averageExecutionTime}. "
        "(record at: #slowestHook) name. "
        "{empty at: #totalExecutionTime. empty at: #averageExecutionTime. empty at: #slowestHook}. "
        "NeuroScopeHookMetrics ofPasses asRecord keys size}",
    )
    assert found == [3, 21, 7]
    assert slowest == "other"
    assert nothing == [0, None, None]
    assert whole == 1


def test_a_manager_measures_what_its_hooks_cost_a_pass(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    metrics, overhead, slowest, coarse, none = ask(
        system,
        engine,
        f"| wait found coarse none | {WAIT};; "
        f"none := [model hookManager performanceMetrics] {CAUGHT.format('InsufficientDataError')};;"
        "model addHook: (ActivationHook layer: 2 component: #mlp action: [:a | a]);; "
        "model addHook: (ActivationHook new name: 'slow'; layer: 3; action: wait; yourself);; "
        "model addHook: (InterventionHook layer: 4 component: #mlp action: wait);; "
        "model hookManager enablePerformanceMonitoring;; model forward: #(1 2);; "
        "found := model hookManager performanceMetrics;; "
        "model hookManager optimizeForThroughput;; model forward: #(1 2);; "
        "coarse := model hookManager performanceMetrics;; "
        "model hookManager disablePerformanceMonitoring;; "
        "{{found at: #executionCount. found at: #totalExecutionTime}. "
        "(found at: #hookOverhead) >= (found at: #totalExecutionTime). "
        "(found at: #slowestHook) layer. "
        "{coarse at: #hookOverhead. coarse at: #slowestHook ifAbsent: ['not measured']}. none}",
    )
    assert metrics[0] == 3
    assert metrics[1] >= 60
    assert overhead
    assert slowest in (3, 4)
    assert coarse[0] >= 60
    assert coarse[1] == "not measured"
    assert "enablePerformanceMonitoring" in none


@pytest.mark.parametrize("kind", ["ActivationHook", "InterventionHook"])
def test_a_hook_that_takes_too_long_is_an_error_and_changes_nothing(
    system: System, engine: LMStudioNeuroScopeClient, kind: str
) -> None:
    raised, handled, apart, patient = ask(
        system,
        engine,
        f"| wait plain hook raised handled apart | {WAIT};; "
        "plain := (model forward: #(1 2)) logits;; "
        f"hook := {kind} new name: 'slow'; layer: 3; yourself;; "
        "hook action: [:activation | (wait value: activation) * 0];; model addHook: hook;; "
        "model hookManager setExecutionTimeout: 5;; "
        f"raised := [model forward: #(1 2)] {CAUGHT.format('NeuroScopeHookTimeoutError')};; "
        "model hookManager onHookError: [:each :error | handled := each name];; "
        "apart := ((model forward: #(1 2)) logits - plain) abs max;; "
        "model hookManager setExecutionTimeout: nil; onHookError: nil;; "
        "{raised. handled. apart. (model forward: #(1 2)) logits shape}",
    )
    assert "the hook slow took" in raised
    assert "not 5" in raised
    assert (handled, apart) == ("slow", 0)
    assert patient == [2, 49152]


def test_an_unknown_intervention_type_is_an_error_that_lists_those_that_exist(
    system: System,
) -> None:
    said = answer(
        system,
        "[InterventionHook new interventionType: #telepathy] on: Error do: [:e | e messageText]",
    )
    types = "ablation mean scaling addition replacement patching noise custom"
    assert said == f"no intervention type telepathy; there are {types}"


@pytest.mark.parametrize(
    ("kind", "live", "operation"),
    [("ablation", False, "ablation"), ("patching", False, "replacement"), ("custom", True, None)],
)
def test_an_intervention_type_says_what_the_engine_does(
    system: System, kind: str, live: bool, operation: str | None
) -> None:
    found = answer(
        system,
        f"| hook | hook := InterventionHook new interventionType: #{kind}; yourself;; "
        f"{{hook isLive. (NeuroScopeInterventionType named: '{kind}') operation. "
        "hook interventionType. InterventionHook new isLive}",
    )
    assert found == [live, operation, kind, True]


@pytest.mark.parametrize(
    ("layer", "name"),
    [("5", "5"), ("#(3 5)", ".3.5"), ("#all", "all"), ("#embedding", "embedding")],
)
def test_a_hook_is_named_after_its_layers(system: System, layer: str, name: str) -> None:
    found = answer(
        system,
        f"(HookManager new addHook: (Hook layer: {layer} component: #mlp)) name",
    )
    assert found == f"layer{name}-mlp"
