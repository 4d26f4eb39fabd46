"""Every Smalltalk example of the README prints what the README says, in every system."""

import re
from pathlib import Path

import pytest

from bridge.client import LMStudioNeuroScopeClient
from systems import System, answer

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```smalltalk\n(.*?)```\n\n```text\n(.*?)\n```", README, re.S)
(LOOK, _), (FIND, _), (REACH, _) = EXAMPLES
(STEP,) = re.findall(r"```smalltalk\n(\| debugger \|.*?)```", README, re.S)
NUMBER = re.compile(r"-?\d+\.\d+")


def run(system: System, engine: LMStudioNeuroScopeClient, example: str) -> str:
    here = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
    *statements, last = example.replace("LMStudioRESTClient default", here).rsplit(".\n", 1)
    return system.run(f"{'. '.join(statements)}. ({last.strip()}) printString")


def test_each_example_is_followed_by_what_it_prints():
    assert (
        README.count("```smalltalk\n") == len(EXAMPLES) + 1
    )  # the debugger's has it beside each line


@pytest.mark.parametrize(("example", "printed"), EXAMPLES, ids=["look", "find", "reach"])
def test_an_example_prints_what_the_readme_says(
    system: System, engine: LMStudioNeuroScopeClient, example: str, printed: str
):
    told = run(system, engine, example)
    assert NUMBER.split(told) == NUMBER.split(printed)
    numbers = [list(map(float, NUMBER.findall(text))) for text in (told, printed)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-5)


def test_the_norm_in_the_readme_is_the_one_python_reads(engine: LMStudioNeuroScopeClient):
    from numpy.linalg import norm

    from bridge.wire import from_record

    hook = {"layer_name": "15", "component": "residual"}
    prompt = re.search(r"'(When .*?)'", LOOK)[1]
    (record,) = engine.forward(prompt, [hook])["activations"]["layer_15_residual"]
    assert float(EXAMPLES[0][1]) == pytest.approx(norm(from_record(record, {})), 1e-5)


def test_the_third_example_goes_on_as_with_the_head_ablated(engine: LMStudioNeuroScopeClient):
    prompt = re.search(r"'(The .*?)'", REACH)[1]
    ablation = {"layer_name": "23", "component": "head_output", "operation": "ablation"}
    plain, ablated = (
        prompt
        + engine.generate_with_activations(
            prompt, [], max_tokens=5, temperature=0, interventions=interventions
        )["choices"][0]["text"]
        for interventions in ([], [ablation | {"heads": [3]}])
    )
    assert plain != ablated
    assert EXAMPLES[2][1].replace("''", "'") == f"'{plain} | {ablated}'"


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
