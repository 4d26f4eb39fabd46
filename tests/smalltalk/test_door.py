"""From an image without NeuroScope to the README's first answer, by the printed line alone."""

import json
import re
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from bridge.cli.smalltalk import smalltalk
from bridge.client import LMStudioNeuroScopeClient
from bridge.generator.dialects import DIALECTS
from bridge.installing import INSTALLATIONS
from systems import AMBER, GENERATED, HERE, Amber, SmalltalkError, System, answer, checked
from systems.squeak.machine import HERE as SQUEAK
from systems.squeak.machine import Squeak

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLE, PRINTED = re.search(
    r"```smalltalk\n(.*?)```\n\n```text\n(.*?)\n```", README, re.S
).groups()
PREPARED = (SQUEAK / "library.st", SQUEAK / "webclient.st")
"""What newer Squeaks have, and Debian's lacks."""


def printed(*arguments: str) -> tuple[str, str]:
    """The lines that the command prints: for a folder, and for a server."""
    told = CliRunner().invoke(smalltalk, [*arguments], catch_exceptions=False)
    folder, server = re.findall(r"^  (.*)$", told.output, re.M)
    return folder, server


@pytest.fixture(scope="module")
def squeak(tmp_path_factory: pytest.TempPathFactory) -> Squeak:
    return Squeak(tmp_path_factory.mktemp("squeak"))


def later(engine: LMStudioNeuroScopeClient) -> str:
    """The README's first example as a literal, to be compiled once its classes are there."""
    here = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
    *statements, last = EXAMPLE.replace("LMStudioRESTClient default", here).rsplit(".\n", 1)
    code = f"{'. '.join(statements)}. ({last.strip()}) printString"
    return "'" + code.replace("'", "''") + "'"


def in_amber(line: str, engine: LMStudioNeuroScopeClient) -> str:
    Amber()
    expression = f"({line}) then: [:done | Compiler new evaluateExpression: {later(engine)}]"
    return checked([*AMBER, expression])


def test_amber_installs_from_a_server(engine: LMStudioNeuroScopeClient) -> None:
    _, line = printed("amber", "--url", str(engine.base_url))
    assert float(in_amber(line, engine)) == pytest.approx(float(PRINTED), rel=1e-5)


def test_squeak_installs_from_a_server(squeak: Squeak, engine: LMStudioNeuroScopeClient) -> None:
    _, line = printed("squeak", "--url", str(engine.base_url))
    told = squeak.evaluate(f"{line}. Compiler evaluate: {later(engine)}", *PREPARED, limit=120)
    assert float(told) == pytest.approx(float(PRINTED), rel=1e-5)


def test_squeak_installs_from_a_copy_of_the_folder(squeak: Squeak, tmp_path: Path) -> None:
    line, _ = printed("squeak", "--output", str(tmp_path / "copy"))
    assert str(tmp_path / "copy") in line
    expression = f"{line}. (Smalltalk at: #LMStudioRESTClient) default baseUrl"
    assert squeak.evaluate(expression, *PREPARED) == "http://127.0.0.1:50111"
    again = CliRunner().invoke(smalltalk, ["squeak", "--output", str(tmp_path / "copy")])
    assert (again.exit_code, "is not empty" in again.output) == (1, True)


def test_ambers_folder_is_a_package_of_npm_with_a_runner(tmp_path: Path) -> None:
    Amber()
    folder = tmp_path / "amber"
    line, _ = printed("amber", "--output", str(folder))
    (folder / "node_modules").symlink_to(HERE / "node_modules")  # what npm install brings
    wanted, shipped = (
        json.loads((each / "package.json").read_text())["dependencies"] for each in (HERE, folder)
    )
    assert shipped == wanted
    line = line.replace("npm install && ", "").replace("default health", "default baseUrl")
    assert checked(["sh", "-c", line]) == "http://127.0.0.1:50111"


def test_a_place_without_the_packages_is_an_error(
    squeak: Squeak, engine: LMStudioNeuroScopeClient
) -> None:
    nowhere = f"{engine.base_url}/smalltalk/nowhere"
    said = "nowhere/NeuroScope-Connection.st is not there: the server answers 404"
    install = f"NeuroScopeInstaller installFrom: '{nowhere}'"
    with pytest.raises(SmalltalkError, match=said):
        checked([*AMBER, GENERATED / "amber" / "install.st", install])
    expression = f"[{install}] on: Error do: [:e | e messageText]"
    assert said in squeak.evaluate(expression, *PREPARED, GENERATED / "squeak" / "install.st")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_readme_shows_the_line_of_each_dialect(dialect: str) -> None:
    assert INSTALLATIONS[dialect].from_server("http://127.0.0.1:50111", dialect) in README


def test_the_server_has_these_files_and_no_others(engine: LMStudioNeuroScopeClient) -> None:
    ours = {
        path.relative_to(GENERATED).as_posix(): path.read_bytes()
        for path in GENERATED.rglob("*")
        if path.is_file() and "node_modules" not in path.parts
    }
    with httpx.Client(base_url=str(engine.base_url)) as http:
        assert set(http.get("/smalltalk/").text.splitlines()) == set(ours)
        pharo = http.get("/smalltalk/pharo/").text.splitlines()
        assert {f"pharo/{name}" for name in pharo} == {n for n in ours if n.startswith("pharo/")}
        for name in ("squeak/install.st", "pharo/.properties", "amber/amber.js"):
            assert http.get(f"/smalltalk/{name}").content == ours[name]
        for name in ("../README.md", "%2e%2e/README.md", "squeak", "squeak/../../README.md"):
            reply = http.get(f"/smalltalk/{name}")
            assert reply.status_code == 404, name
    raw = HTTPConnection(http.base_url.host, http.base_url.port)  # httpx would tidy the path
    raw.request("GET", "/smalltalk/squeak/../../README.md")
    assert raw.getresponse().status == 404
    raw.close()


def test_a_client_notes_another_version_of_its_server_once(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    client = f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"
    version, note, again, same = answer(
        system,
        f"| client note | client := {client};; client health;; "
        "note := client noteOnVersion: '99.1';; "
        "{LMStudioRESTClient bridgeVersion. note. client noteOnVersion: '99.1'. "
        "client noteOnVersion: LMStudioRESTClient bridgeVersion}",
    )
    assert version == engine.health()["version"]
    assert f"has version {version} of" in note
    assert f"the server at {engine.base_url} has version 99.1" in note
    assert again is None
    assert same is None
    assert answer(system, f"| c | c := {client};; c health;; c noteOnVersion: '{version}'") is None
