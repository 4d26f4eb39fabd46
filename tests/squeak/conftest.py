from pathlib import Path

import pytest

from bridge.resources import resource_folder
from systems.squeak.machine import HERE, Squeak

GENERATED = resource_folder("smalltalk") / "squeak"


@pytest.fixture(scope="session")
def squeak(tmp_path_factory: pytest.TempPathFactory) -> Squeak:
    """A real Squeak; each `evaluate` starts it anew."""
    return Squeak(tmp_path_factory.mktemp("squeak"))


@pytest.fixture(scope="session")
def library() -> tuple[Path, ...]:
    """What newer Squeaks bring along, and the generated classes rely on."""
    return HERE / "library.st", HERE / "webclient.st"


@pytest.fixture(scope="session")
def client(library: tuple[Path, ...]) -> tuple[Path, ...]:
    """The generated classes as committed for Squeak, and what they rely on."""
    packages = ("Connection", "Bridge", "Core")
    return *library, *(GENERATED / f"NeuroScope-{name}.st" for name in packages), HERE / "text.st"
