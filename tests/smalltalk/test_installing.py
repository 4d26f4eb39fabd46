"""Filing in: the installer does it in order, and what is missing is said in words."""

from pathlib import Path

import pytest

from systems import GENERATED, HERE, Amber, SmalltalkError, checked
from systems.squeak.machine import HERE as SQUEAK
from systems.squeak.machine import Squeak, SqueakError

INSTALL = "NeuroScopeInstaller installFrom: '{}'. LMStudioRESTClient default baseUrl"
ADDRESS = "http://127.0.0.1:50111"


@pytest.fixture(scope="module")
def squeak(tmp_path_factory: pytest.TempPathFactory) -> Squeak:
    return Squeak(tmp_path_factory.mktemp("squeak"))


def amber(*files: Path, expression: str) -> str:
    Amber()
    return checked(["node", HERE / "amber.js", *files, expression])


def later(expression: str) -> str:
    """The expression, compiled when its classes are there."""
    first, second = expression.split(". ")
    return f"{first}. Compiler new evaluateExpression: '{second}'"


def test_ambers_installer_files_in_all_packages() -> None:
    folder = GENERATED / "amber"
    expression = later(INSTALL.format(folder))
    assert amber(folder / "install.st", expression=expression) == ADDRESS


def test_squeaks_installer_files_in_all_packages(squeak: Squeak) -> None:
    folder = GENERATED / "squeak"
    prepared = (SQUEAK / "library.st", SQUEAK / "webclient.st")
    expression = (
        f"NeuroScopeInstaller installFrom: '{folder}'. "
        "(Smalltalk at: #LMStudioRESTClient) default baseUrl"
    )
    assert squeak.evaluate(expression, *prepared, folder / "install.st") == ADDRESS


def test_the_installer_says_what_the_image_lacks(squeak: Squeak) -> None:
    folder = GENERATED / "squeak"
    with pytest.raises(SqueakError, match="NeuroScope needs the package WebClient-Core"):
        squeak.evaluate(
            f"NeuroScopeInstaller installFrom: '{folder}'",
            SQUEAK / "library.st",
            folder / "install.st",
        )


def test_the_installer_wants_no_webclient_where_a_page_fetches(
    squeak: Squeak, tmp_path: Path
) -> None:
    page = tmp_path / "page.st"
    page.write_text(
        "!NeuroScopeInstaller class methodsFor: 'page'!\ntypeOfJavaScript\n\t^ 'object'! !\n"
    )
    install = GENERATED / "squeak" / "install.st"
    said = squeak.evaluate(
        "NeuroScopeInstaller check. 'fine'", SQUEAK / "library.st", install, page
    )
    assert said == "fine"


@pytest.mark.parametrize(
    "package",
    ["NeuroScope-Bridge", "NeuroScope-Core", "NeuroScope-Tests", "NeuroScope-Server-Tests"],
)
def test_a_package_filed_in_too_early_says_what_it_needs(squeak: Squeak, package: str) -> None:
    said = f"{package} needs the class [A-Za-z]+: file in NeuroScope-Connection.st first"
    with pytest.raises(SmalltalkError, match=said):
        amber(GENERATED / "amber" / f"{package}.st", expression="nil")
    with pytest.raises(SqueakError, match=said):
        squeak.evaluate("nil", GENERATED / "squeak" / f"{package}.st")
