"""A pass that is paused waits for a hook's block, however long that takes, where it can be told."""

from collections.abc import Iterator
from pathlib import Path

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
