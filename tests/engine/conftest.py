"""The fixture that a test takes to run on every architecture."""

import pytest
from architectures import ARCHITECTURES
from subjects import TOKENS, Subject, everywhere
from tiny import tiny_kit

from engine.runs.forward import forward


@pytest.fixture(scope="module", params=ARCHITECTURES)
def subject(request) -> Subject:
    """An architecture's tiny model, run once with everything captured."""
    kit = tiny_kit(request.param)
    result = forward(kit, [TOKENS], everywhere(kit.structure), logits="all")
    return Subject(request.param, kit, result)
