"""The fixtures of tests that run on every architecture, and where such a test is to fail."""

from collections.abc import Iterator

import pytest
from subjects import TOKENS, Subject, everywhere
from tiny import tiny_kit

from benchmarks.architectures import ARCHITECTURES
from benchmarks.exceptions import EXCEPTIONS
from engine.runs.forward import forward


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the failures that `EXCEPTIONS` names, and only those."""
    for item in items:
        exceptions = EXCEPTIONS.get(getattr(item, "originalname", ""), {})
        name = item.callspec.params["architecture"] if exceptions else None
        if name in exceptions:
            item.add_marker(pytest.mark.xfail(reason=exceptions[name], strict=True))


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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch's threads wait for each other in a busy loop, which a busy machine punishes."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
