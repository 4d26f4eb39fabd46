"""The guide: its examples print what it says, and workspace, methods and help book have them."""

import json
import re
from pathlib import Path

import pytest

from bridge.client import LMStudioNeuroScopeClient
from bridge.generator.dialects import DIALECTS
from bridge.generator.guide import Example, examples_of
from bridge.generator.templates import Templates
from systems import GENERATED, Amber, System
from systems.squeak.machine import Squeak

EXAMPLES = examples_of(Templates())
NUMBER = re.compile(r"-?\d+\.\d+")
HELP_SYSTEM = """Object subclass: #CustomHelp
	instanceVariableNames: ''
	classVariableNames: ''
	poolDictionaries: ''
	category: 'HelpSystem-Core'!
Object subclass: #HelpTopic
	instanceVariableNames: 'title contents'
	classVariableNames: ''
	poolDictionaries: ''
	category: 'HelpSystem-Core'!
!HelpTopic class methodsFor: 'instance creation'!
title: aString contents: aText
	^self new setTitle: aString contents: aText! !
!HelpTopic methodsFor: 'accessing'!
setTitle: aString contents: aText
	title := aString. contents := aText!
title
	^title!
contents
	^contents! !
"""
"""As much of HelpSystem as a book uses, which Debian's Squeak lacks."""


def prints(system: System, engine: LMStudioNeuroScopeClient, default_client: Path) -> list[str]:
    """What each example prints: as methods all in one run; in Amber, where one process evaluates
    all expressions, as the workspace's expressions."""
    if not isinstance(system, Amber):
        each = ". ".join(f"({each.holder} {each.selector}) printString" for each in EXAMPLES)
        said = system.run(f"NeuroScopePlatform current writeJson: {{{each}}}", default_client)
        return json.loads(said)
    here = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
    statements = (each.statements for each in EXAMPLES)
    expressions = (f"{before}({last}) printString" for before, last in statements)
    return [system.run(each.replace("LMStudioRESTClient default", here)) for each in expressions]


def test_each_example_prints_what_the_guide_says(
    system: System, default_client: Path, engine: LMStudioNeuroScopeClient
) -> None:
    for said, example in zip(prints(system, engine, default_client), EXAMPLES, strict=True):
        assert NUMBER.split(said) == NUMBER.split(example.printed), example.title
        numbers = [list(map(float, NUMBER.findall(text))) for text in (said, example.printed)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-5), example.title


def test_the_guides_numbers_are_those_of_python(engine: LMStudioNeuroScopeClient) -> None:
    import numpy as np

    from bridge.wire import from_record

    printed = {each.selector: each.printed for each in EXAMPLES}
    hook = {"layer_name": "15", "component": "residual"}
    (record,) = engine.forward("The capital of France is", [hook])["activations"][
        "layer_15_residual"
    ]
    norm = np.linalg.norm(from_record(record, {}))
    assert float(printed["exampleCapture"]) == pytest.approx(norm, rel=1e-5)
    softmax = np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum()
    assert float(printed["exampleSoftmax"]) == pytest.approx(softmax[-1], rel=1e-6)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_workspace_has_the_expressions_of_the_examples(dialect: str) -> None:
    text = (GENERATED / dialect / "workspace.st").read_text()
    code = re.sub(r'"(?:[^"]|"")*"', "", text)  # without the comments
    expressions = [part.strip() for part in re.split(r"\n{2,}", code) if part.strip()]
    assert expressions == [each.code for each in EXAMPLES]
    assert re.findall(r'"prints (.*?)"', text, re.S) == [each.printed for each in EXAMPLES]


def source_of(example: Example) -> str:
    """The lines of the method that a file-out has for an example, without comment and pragma."""
    before, last = example.statements
    return f"{before}^{last}".replace("\n", "\n\t")


def test_the_examples_are_methods_marked_as_such_in_pharo() -> None:
    files = {path.name: path.read_text() for path in (GENERATED / "pharo").rglob("*.class.st")}
    squeak = "".join(path.read_text() for path in (GENERATED / "squeak").glob("*.st"))
    for example in EXAMPLES:
        method = files[f"{example.holder}.class.st"].split(
            f"{example.holder} class >> {example.selector} ["
        )[1]
        assert method.split("\n]")[0].endswith(f"\t<example>\n\t{source_of(example)}")
        assert source_of(example) in squeak


def test_the_help_book_has_a_page_of_each_example(tmp_path: Path) -> None:
    (tmp_path / "help.st").write_text(HELP_SYSTEM)
    squeak = Squeak(tmp_path)
    book = GENERATED / "squeak" / "NeuroScope-Help.st"
    told = squeak.evaluate(
        "| all | all := WriteStream on: String new. NeuroScopeHelp pages do: [:each | | topic | "
        "topic := NeuroScopeHelp perform: each. all nextPutAll: topic title; nextPut: $@; "
        "nextPutAll: topic contents; nextPut: $%]. all contents",
        tmp_path / "help.st",
        book,
    )
    pages = [page.split("@", 1) for page in told.split("%")[:-1]]
    assert [title for title, _ in pages] == [
        "Start",
        *(each.title for each in EXAMPLES),
        "Tests",
    ]
    for (_, contents), example in zip(pages[1:-1], EXAMPLES, strict=True):
        for part in (example.prose, example.code, f"prints {example.printed}"):
            assert part in contents.replace("\r", "\n")
    assert "smalltalk/squeak" in pages[0][1]
