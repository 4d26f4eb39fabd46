"""The fixtures of tests that run on every architecture."""

import pytest
from subjects import TOKENS, Subject, everywhere
from tiny import tiny_kit

from benchmarks.architectures import ARCHITECTURES
from engine.runs.forward import forward


@pytest.fixture(scope="session", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """The name of an architecture; `--architecture` chooses among them."""
    return request.param


@pytest.fixture(scope="session")
def subject(architecture: str) -> Subject:
    """An architecture's tiny model, resolved once a session, and run with everything captured."""
    kit = tiny_kit(architecture)
    result = forward(kit, [TOKENS], everywhere(kit.structure), logits="all")
    return Subject(architecture, kit, result)
