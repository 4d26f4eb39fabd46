"""A pass that is paused waits for a hook's block, however long that takes, where it can be told."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from neuroscope import ask

from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine
from systems import SmalltalkError, System

SLOW = (
    "model addHook: (InterventionHook layer: 0 component: #mlp action: [:activation | "
    "NeuroScopePlatform current waitMilliseconds: 7000. activation]);; "
    "(model forward: #(1 2 3)) tokens"
)


@pytest.fixture(scope="module")
def hasty(smollm2_path: Path) -> Iterator[LMStudioNeuroScopeClient]:
    """A client of an engine that waits four seconds at a breakpoint."""
    with running_engine(str(smollm2_path), "--breakpoint-wait", "4") as client:
        yield client


def test_a_block_that_takes_longer_than_the_wait(
    system: System, hasty: LMStudioNeuroScopeClient
) -> None:
    if system.name == "amber":  # JavaScript has no process that could say that the block is at work
        with pytest.raises(SmalltalkError, match="nothing came back within 4 seconds"):
            ask(system, hasty, SLOW)
    else:
        assert ask(system, hasty, SLOW) == [1, 2, 3]


TOLD = """!NeuroScopeLiveSession methodsFor: 'private'!
tell: aString
	"Leave a text where the test finds it."
	client token: aString! !
"""
UNREACHABLE = (
    "model addHook: (InterventionHook layer: 0 component: #mlp action: [:activation | "
    "model client baseUrl: 'http://127.0.0.1:9'. Error signal: 'the cause']);; "
    "{[model forward: #(1 2 3)] on: Error do: [:error | error messageText]. model client token}"
)


def test_a_session_that_cannot_be_cancelled_is_told_beside_the_cause(
    system: System, hasty: LMStudioNeuroScopeClient, tmp_path: Path
) -> None:
    if system.name == "amber":  # its one process evaluates all
        text = TOLD.replace("'", "''")
        system.run(f"Importer new import: '{text}' readStream. 'filed in'")
        cause, told = ask(system, hasty, UNREACHABLE)
    else:
        file = tmp_path / "told.st"
        file.write_text(TOLD)
        filed = SimpleNamespace(run=lambda expression: system.run(expression, file))
        cause, told = ask(filed, hasty, UNREACHABLE)
    hasty.cancel_session(re.search(r"ses-\w+", told)[0])
    assert cause == "the cause"
    assert "was not cancelled" in told
    assert "127.0.0.1:9" in told
