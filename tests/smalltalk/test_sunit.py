"""The generated SUnit tests pass in the image: a user can run them there."""

import os
from pathlib import Path

import pytest
from systems import GENERATED, SQUEAK, Cuis, System

from bridge.client import LMStudioNeuroScopeClient

IN_AMBER = """| bad |
        bad := ''.
        {name} buildSuite do: [:each |
            [each runCase] on: Error do: [:error |
                bad := bad , each selector , ': ' , error messageText , '; ']].
        {name} buildSuite size printString , ' run, failed: ' , bad"""
ELSEWHERE = """| result |
        result := {name} suite run.
        (result failures size + result errors size = 0)
            ifTrue: [result runCount printString , ' run, failed: ']
            ifFalse: [result failures printString , result errors printString]"""


def packages_of_tests(system: System, folder: Path, url: str) -> list[Path]:
    """SUnit where the image lacks it, the tests, and the server to ask."""
    package_loader = folder / "sunit.st"
    package_loader.write_text("PackageLoader fileInPackage: 'SUnit'!\n")
    sunit = {"amber": [], "gst": [package_loader], "squeak": [SQUEAK / "sunit.st"]}
    tests = GENERATED / system.name / "NeuroScope-Tests.st"
    return [*sunit[system.name], tests, address(folder, url)]


def address(folder: Path, url: str) -> Path:
    """A method that names the server to ask."""
    file = folder / "address.st"
    file.write_text(
        f"!NeuroScopeClientTest class methodsFor: 'accessing'!\nbaseUrl\n\t^'{url}'! !\n"
    )
    return file


@pytest.mark.parametrize(
    ("name", "count"), [("NeuroScopeActivationTensorTest", 11), ("NeuroScopeClientTest", 12)]
)
def test_all_tests_of_a_class_pass(
    system: System, engine: LMStudioNeuroScopeClient, tmp_path: Path, name: str, count: int
) -> None:
    files = packages_of_tests(system, tmp_path, engine.base_url)
    expression = IN_AMBER if system.name == "amber" else ELSEWHERE
    said = system.run(expression.replace("{name}", name), *files)
    assert said == f"{count} run, failed: "


if "CUIS" in os.environ:

    def test_all_tests_pass_in_cuis(engine: LMStudioNeuroScopeClient, tmp_path: Path) -> None:
        tests = GENERATED / "cuis" / "NeuroScope-Tests.pck.st"
        said = Cuis().run(
            "(NeuroScopeActivationTensorTest buildSuite run) printString , ' and ' , "
            "(NeuroScopeClientTest buildSuite run) printString",
            tests,
            address(tmp_path, engine.base_url),
        )
        assert "11 run, 11 passed" in said
        assert "12 run, 12 passed" in said
