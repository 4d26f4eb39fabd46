"""A circuit that an image saves is verified by Python, and one of Python's in the image."""

from pathlib import Path

import pytest
from neuroscope import IOI, IOI_CORRUPTED, ask

from bridge.circuits import SavedCircuit, measured_circuit, verify
from bridge.client import LMStudioNeuroScopeClient
from systems import System

EXAMPLE = {
    "clean": IOI,
    "corrupted": IOI_CORRUPTED,
    "answers": [" Mary"],
    "distractors": [" John"],
}


def test_a_circuit_goes_between_image_and_python_as_a_file(
    system: System, engine: LMStudioNeuroScopeClient, tmp_path: Path
) -> None:
    by_image, by_python = tmp_path / "image.json", tmp_path / "python.json"
    parts = [{"layer": 23, "head": 3}, {"layer": 20, "component": "mlp", "positions": [-1]}]
    ours = measured_circuit(
        engine, "ours", parts, [EXAMPLE], method="ablation", direction="noising",
        ablation={"kind": "mean", "over": "positions"},
    )  # fmt: skip
    ours.save(by_python)
    passed, rows, name = ask(
        system,
        engine,
        "| circuit check saved | circuit := (CircuitFinder for: model) findCircuitFor: 'names' "
        f"examples: {{NeuroScopeCircuitExample clean: '{IOI}' corrupted: '{IOI_CORRUPTED}' "
        "answer: ' Mary' distractor: ' John'} method: #attributionPatching threshold: 0.25;; "
        f"circuit saveTo: '{by_image}';; "
        f"saved := NeuroScopeSavedCircuit fromFile: '{by_python}';; "
        "check := saved verifyOn: model;; "
        "{check isPassed. check rows collect: [:each | {each name. each saved. each now. "
        "each tolerance}]. saved name}",
    )
    assert (passed, name) == (True, "ours")
    assert [row[0] for row in rows] == ["logit difference", "circuit", "L23H3", "L20 mlp at -1"]
    ours_again = verify(ours, engine)
    assert [row[2] for row in rows] == pytest.approx([r.now for r in ours_again.rows], rel=1e-4)
    assert [row[3] for row in rows] == pytest.approx([r.tolerance for r in ours_again.rows])

    theirs = SavedCircuit.load(by_image)
    assert theirs.name == "names"
    assert theirs.examples[0].given() == EXAMPLE
    assert [each.name for each in theirs.components] == ["L23H3", "L29H1"]
    check = verify(theirs, engine)
    assert check.is_passed
    assert [r.now for r in check.rows] == pytest.approx([r.saved for r in check.rows], rel=1e-4)
