"""Every Smalltalk example of the README does what the README says, in every system."""

import re
from pathlib import Path

import pytest
from systems import System

from bridge.client import LMStudioNeuroScopeClient

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LOOK, FIND = re.findall(r"```smalltalk\n(.*?)```", README, re.S)


def run(system: System, engine: LMStudioNeuroScopeClient, example: str) -> str:
    here = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
    *statements, last = example.replace("LMStudioRESTClient default", here).rsplit(".\n", 1)
    return system.run(f"{'. '.join(statements)}. ({last.strip()}) printString")


def test_the_norm_that_the_first_example_answers_is_the_one_python_reads(
    system: System, engine: LMStudioNeuroScopeClient
):
    from numpy.linalg import norm

    from bridge.wire import from_record

    hook = {"layer_name": "15", "component": "residual"}
    prompt = re.search(r"'(When .*?)'", LOOK)[1]
    (record,) = engine.forward(prompt, [hook])["activations"]["layer_15_residual"]
    assert float(run(system, engine, LOOK)) == pytest.approx(norm(from_record(record, {})), 1e-5)


def test_the_second_example_shows_the_heads_that_patching_finds(
    system: System, engine: LMStudioNeuroScopeClient
):
    shown = run(system, engine, FIND)
    for head in ("L23H3", "L29H1", "L20H0"):
        assert head in shown
