import pytest

from .machine import Squeak


@pytest.fixture(scope="session")
def squeak(tmp_path_factory: pytest.TempPathFactory) -> Squeak:
    """A real Squeak; each `evaluate` starts it anew."""
    return Squeak(tmp_path_factory.mktemp("squeak"))
