"""An installed copy works without the checkout."""

import os
import subprocess
import sys
from filecmp import cmpfiles
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel puts into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*pip, str(ROOT)], check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "site-packages")
    return folder / "site-packages"


def test_an_installed_copy_renders_the_bindings_that_it_ships(installed: Path, tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "bridge", "generate", "--output", str(tmp_path / "rendered")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        check=True,
        timeout=120,
    )
    shipped = installed / "bridge" / "smalltalk"
    files = [str(file.relative_to(shipped)) for file in shipped.rglob("*") if file.is_file()]
    assert len(files) > 10
    assert cmpfiles(shipped, tmp_path / "rendered", files, shallow=False)[0] == files


def test_an_installed_copy_has_every_file_of_the_page(installed: Path):
    page = Path("engine", "server", "page")
    files = [str(file.relative_to(ROOT)) for file in (ROOT / page).rglob("*") if file.is_file()]
    assert len(files) > 10
    assert cmpfiles(ROOT, installed, files, shallow=False)[0] == files
