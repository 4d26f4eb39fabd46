"""Passes that are kept answer again, and what has no room goes."""

import pytest
from neuroscope import ask
from systems import System

from bridge.client import LMStudioNeuroScopeClient

RUN = (
    "run := [:tokens :layer | model runWithCaching: tokens layers: {layer} components: #(#mlp)];; "
)
COUNTS = "{model cacheStatistics at: #hits. model cacheStatistics at: #misses}"


def test_the_same_pass_answers_the_kept_output(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    same, others, counts, size, cleared = ask(
        system,
        engine,
        f"| run one found counts size | {RUN} model enableSmartCaching: true;; "
        "one := run value: #(1 2) value: 0;; "
        "found := {(run value: (OrderedCollection with: 1 with: 2) value: 0) == one. "
        "(run value: #(2 1) value: 0) == one. (run value: #(1 2) value: 1) == one. "
        "(model runWithCaching: #(1 2) layers: #(0) components: #(#residual)) == one. "
        "(model capture: #(1 2) layers: #(0) components: #(#mlp)) == one};; "
        f"counts := {COUNTS};; size := model cacheStatistics at: #size;; model clearCache;; "
        "{found first. found copyFrom: 2 to: 5. counts. size. "
        f"{{(run value: #(1 2) value: 0) == one. {COUNTS}}}}}",
    )
    logits, captured = 2 * 49152, 2 * 576
    assert same
    assert others == [False] * 4
    assert counts == [1, 5]
    assert size == pytest.approx(4 * (4 * (logits + captured) + captured) / 1e6)
    assert cleared == [False, [1, 6]]


def test_a_pass_that_a_hook_changes_runs_and_a_hook_that_looks_sees_a_kept_one(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    changed, again, seen, counts = ask(
        system,
        engine,
        f"| run one hook watch changed | {RUN} model enableSmartCaching: true;; "
        "one := run value: #(1 2) value: 7;; "
        "hook := InterventionHook layer: 7 component: #mlp type: #ablation;; model addHook: hook;; "
        "changed := {((run value: #(1 2) value: 7) at: 7 at: #mlp) norm. (one at: 7 at: #mlp) norm "
        "> 0};; model removeHook: hook;; "
        "watch := ActivationHook layer: 7 component: #mlp action: [:activation | 1];; "
        "model addHook: watch;; run value: #(1 2) value: 7;; run value: #(1 2) value: 7;; "
        f"{{changed. (run value: #(1 2) value: 7) == one. watch executionCount. {COUNTS}}}",
    )
    assert changed == [0, True]
    assert again
    assert seen == 3
    assert counts == [3, 1]


def test_what_was_not_asked_for_the_longest_goes_first(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    kept, gone, misses, large = ask(
        system,
        engine,
        "| cache outputs keep large | outputs := #(0 1 2) collect: [:layer | "
        "model capture: #(1 2) layers: {layer} components: #(#mlp)];; "
        "cache := NeuroScopePassCache limit: 2 * outputs first byteSize;; "
        "keep := [:key | cache at: key ifAbsent: [outputs at: key]];; "
        "keep value: 1; value: 2; value: 1; value: 3;; "
        "large := NeuroScopePassCache limit: 100;; large at: 1 ifAbsent: [outputs first];; "
        "{#(1 3) collect: [:key | (cache at: key ifAbsent: [nil]) == (outputs at: key)]. "
        "(cache at: 2 ifAbsent: [outputs last]) == outputs last. "
        "cache statistics at: #misses. large byteSize}",
    )
    assert kept == [True, True]
    assert gone
    assert misses == 4
    assert large == 0


def test_statistics_of_no_cache_are_an_error(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    said = ask(
        system,
        engine,
        "model enableSmartCaching: true;; model enableSmartCaching: false;; "
        "[model cacheStatistics] on: InsufficientDataError do: [:error | error messageText]",
    )
    assert "enableSmartCaching: true" in said
