"""Every Smalltalk example of the README does what the README says, in every system."""

import re
from pathlib import Path

import pytest

from bridge.client import LMStudioNeuroScopeClient
from systems import System, answer

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LOOK, FIND, REACH, STEP = re.findall(r"```smalltalk\n(.*?)```", README, re.S)


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


def test_the_third_example_goes_on_as_with_the_head_ablated(
    system: System, engine: LMStudioNeuroScopeClient
):
    prompt = re.search(r"'(The .*?)'", REACH)[1]
    ablation = {"layer_name": "23", "component": "head_output", "operation": "ablation"}
    plain, ablated = (
        engine.generate_with_activations(
            prompt, [], max_tokens=5, temperature=0, interventions=interventions
        )["choices"][0]["text"]
        for interventions in ([], [ablation | {"heads": [3]}])
    )
    assert plain != ablated
    assert run(system, engine, REACH).replace("''", "'") == f"'{prompt}{ablated}'"


def test_each_line_of_the_debugger_prints_what_is_beside_it(
    system: System, engine: LMStudioNeuroScopeClient
):
    here = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
    _, code = STEP.replace("LMStudioRESTClient default", here).split("\n", 1)
    lines = re.findall(r'(.*?)\.\s*"(.*?)"', code, re.S)
    said = [f"said add: ({line.strip()}) printString;; " for line, _ in lines]
    expression = f"| debugger said | said := OrderedCollection new;; {''.join(said)}"
    printed = answer(system, f"{expression} debugger close;; said asArray")
    assert printed == [beside for _, beside in lines]
