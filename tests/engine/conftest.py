"""The fixture that a test takes to run on every architecture, and where a test is to fail."""

import pytest
from architectures import ARCHITECTURES
from exceptions import EXCEPTIONS
from subjects import TOKENS, Subject, everywhere
from tiny import tiny_kit

from engine.runs.forward import forward


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the failures that `EXCEPTIONS` names, and only those."""
    for item in items:
        exceptions = EXCEPTIONS.get(getattr(item, "originalname", ""), {})
        name = item.callspec.params["subject"] if exceptions else None
        if name in exceptions:
            item.add_marker(pytest.mark.xfail(reason=exceptions[name], strict=True))


@pytest.fixture(scope="module", params=ARCHITECTURES)
def subject(request) -> Subject:
    """An architecture's tiny model, run once with everything captured."""
    kit = tiny_kit(request.param)
    result = forward(kit, [TOKENS], everywhere(kit.structure), logits="all")
    return Subject(request.param, kit, result)
