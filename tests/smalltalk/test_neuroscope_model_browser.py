"""A browser of a model without a screen: what it shows is the value of the source that it shows."""

import numpy as np
import pytest
from neuroscope import ask, capture

from bridge.client import LMStudioNeuroScopeClient
from systems import System, answer

TEXT = "It's the cat that sat on the"
QUOTED = TEXT.replace("'", "''")
BROWSER = f"| browser | browser := NeuroScopeModelBrowser on: model text: '{QUOTED}';; "
PARTS = {
    "L5 residual": (5, "residual"),
    "L5 attentionPattern H3": (5, "attention_pattern"),
    "L7 headOutput": (7, "head_output"),
    "embedding": ("embedding", "embedding"),
    "finalNorm": ("final_norm", "final_norm"),
}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def test_the_source_of_each_part_answers_what_is_shown(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    names = " ".join(f"'{name}'" for name in PARTS)
    shown = ask(
        system,
        engine,
        f"{BROWSER} #({names}) collect: [:each | browser select: each. "
        "{browser expression. browser value shape. browser value norm. browser selectedIndex. "
        "browser lines at: browser selectedIndex}]",
    )
    sources = ". ".join(f"({source}) norm" for source, *_ in shown)
    again = ask(system, engine, f"{{{sources}}}")
    for name, (_, shape, norm, _, line), other in zip(PARTS, shown, again, strict=True):
        layer, component = PARTS[name]
        expected = capture(engine, TEXT, (layer, component))[layer, component]
        if "H" in name:
            expected = expected[0, 3]
        assert shape == list(expected.shape)
        assert norm == other == pytest.approx(np.linalg.norm(expected), rel=1e-5)
        assert line.strip(" +-") in ("head 3", *(part.split(" ")[-1] for part in PARTS))


def test_an_ablation_is_compared_switched_off_and_written_down(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    rows, divergence, lines, off, workspace, source = ask(
        system,
        engine,
        f"{BROWSER.replace('| browser |', '| browser effect off |')}"
        "browser select: 'L23 headOutput H3';; effect := browser ablate;; "
        "browser toggleHook: 1;; off := browser hookLines , {browser value divergence};; "
        "browser toggleHook: 1;; "
        "{effect rows: 5. effect divergence. browser hookLines. off. browser workspace. "
        "browser expression}",
    )
    change = {"layer_name": "23", "component": "head_output", "operation": "ablation", "heads": [3]}
    before = softmax(capture(engine, TEXT)["logits"][-1])
    after = softmax(capture(engine, TEXT, interventions=[change])["logits"][-1])
    order = np.argsort(-np.maximum(before, after), kind="stable")[:5]
    assert [row["token"] for row in rows] == order.tolist()
    assert [row["before"] for row in rows] == pytest.approx(before[order], rel=1e-3)
    assert [row["after"] for row in rows] == pytest.approx(after[order], rel=1e-3)
    assert divergence == pytest.approx((before * np.log(before / after)).sum(), abs=1e-5)
    assert lines == ["[x] ablate L23 headOutput H3"]
    assert off == ["[ ] ablate L23 headOutput H3", pytest.approx(0, abs=1e-6)]
    *declared, last = workspace.replace("\r", "\n").split("\n")
    assert last == source
    statements = ";;".join(line.removesuffix(".") for line in declared[1:])
    again = answer(system, f"| model | {statements};; ({source}) divergence")
    assert again == pytest.approx(divergence, rel=1e-5)


def test_what_has_no_hook_and_what_is_unknown_is_named(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    said = ask(
        system,
        engine,
        f"{BROWSER} {{'layer 3'. nil}} collect: [:each | "
        "each isNil ifFalse: [browser click: 5]. "
        "browser attempt: [each isNil ifTrue: [browser select: 'L99 mlp'] "
        "ifFalse: [browser ablate]]. "
        "browser problem]",
    )
    assert said == [
        "a whole layer has no hook; choose one of its components, or a head",
        "no part L99 mlp of smollm2; a part is called L0 residual, or L0 query H1",
    ]
