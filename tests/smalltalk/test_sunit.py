"""The generated SUnit tests pass in each system; each of them is a test here, by its name."""

import json
import os
import re
from pathlib import Path

import pytest

from bridge.client import LMStudioNeuroScopeClient
from systems import GENERATED, Cuis, System, sorted_tests

Outcomes = dict[str, str | None]
"""By a test's class and selector, what went wrong; None if nothing did."""


def names_in(file: Path) -> list[str]:
    """The class and selector of each test of a file-out."""
    names, holder = [], ""
    for line in file.read_text().splitlines():
        if heading := re.match(r"!(\w+)( class)? methodsFor: ", line):
            holder = "" if heading[2] else heading[1]
        elif holder and re.fullmatch(r"test[A-Z]\w*", line):
            names.append(f"{holder}>>{line}")
    return names


OFFLINE, SERVER = map(names_in, sorted_tests(GENERATED / "amber"))
SERVER_CLASSES = sorted({name.partition(">>")[0] for name in SERVER})


def outcomes(system: System, run: str) -> Outcomes:
    """What comes of the tests that an expression runs."""
    return json.loads(
        system.run_with_tests(f"NeuroScopePlatform current writeJson: ({run}) outcomes")
    )


def client(engine: LMStudioNeuroScopeClient) -> str:
    return f"(LMStudioRESTClient baseUrl: '{engine.base_url}')"


@pytest.fixture(scope="module")
def offline(system: System) -> Outcomes:
    """All tests that need no server, run at once."""
    return outcomes(system, "NeuroScopeTestRun offline")


@pytest.fixture(scope="module")
def on_server(system: System, engine: LMStudioNeuroScopeClient) -> dict[str, Outcomes]:
    """The tests of each class that asks a server, run at once, once one of them is asked for."""

    class Runs(dict[str, Outcomes]):
        def __missing__(self, name: str) -> Outcomes:
            run = f"NeuroScopeTestRun of: {{{name}}} client: {client(engine)}"
            return self.setdefault(name, outcomes(system, run))

    return Runs()


@pytest.mark.parametrize("name", OFFLINE)
def test_without_a_server(offline: Outcomes, name: str) -> None:
    assert offline[name] is None


@pytest.mark.parametrize("name", SERVER)
def test_with_a_server(on_server: dict[str, Outcomes], name: str) -> None:
    assert on_server[name.partition(">>")[0]][name] is None


def test_the_tests_that_need_no_server_are_those_of_their_package(offline: Outcomes) -> None:
    assert sorted(offline) == sorted(OFFLINE)


def test_a_test_that_fails_says_what_was_there(system: System) -> None:
    fails = "NeuroScopeTestCase new assert: 3 is: 4"
    said = system.run_with_tests(f"[{fails}. ''] on: TestFailure do: [:error | error messageText]")
    assert said == "3 is not 4"


if "CUIS" in os.environ:

    def test_all_tests_pass_in_cuis(engine: LMStudioNeuroScopeClient) -> None:
        cuis = Cuis()
        for run in ("offline", f"server: {client(engine)}"):
            said = cuis.run_with_tests(f"(NeuroScopeTestRun {run}) printString")
            assert " run, 0 failed" in said
