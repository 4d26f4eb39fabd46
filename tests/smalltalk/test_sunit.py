"""The generated SUnit tests pass in the image: a user can run them there."""

from pathlib import Path

import pytest
from systems import GENERATED, SQUEAK, System

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
    """SUnit where the image lacks it, the tests, and a method that names the server to ask."""
    package_loader, address = folder / "sunit.st", folder / "address.st"
    package_loader.write_text("PackageLoader fileInPackage: 'SUnit'!\n")
    sunit = {"amber": [], "gst": [package_loader], "squeak": [SQUEAK / "sunit.st"]}
    address.write_text(
        f"!NeuroScopeClientTest class methodsFor: 'accessing'!\nbaseUrl\n\t^'{url}'! !\n"
    )
    return [*sunit[system.name], GENERATED / system.name / "NeuroScope-Tests.st", address]


@pytest.mark.parametrize(
    ("name", "count"), [("ActivationTensorTest", 11), ("NeuroScopeClientTest", 12)]
)
def test_all_tests_of_a_class_pass(
    system: System, engine: LMStudioNeuroScopeClient, tmp_path: Path, name: str, count: int
) -> None:
    files = packages_of_tests(system, tmp_path, engine.base_url)
    expression = IN_AMBER if system.name == "amber" else ELSEWHERE
    said = system.run(expression.replace("{name}", name), *files)
    assert said == f"{count} run, failed: "
