"""An installed copy works without the checkout."""

import os
import re
import subprocess
import sys
from email import message_from_string
from filecmp import cmpfiles
from pathlib import Path
from zipfile import ZipFile

import pytest

from bridge import __version__

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


def test_the_metadata_names_one_version_and_the_pythons_that_may_install_it(installed: Path):
    (folder,) = installed.glob("*.dist-info")
    metadata = message_from_string((folder / "METADATA").read_text(encoding="utf-8"))
    assert metadata["Version"] == __version__
    named = [each.rpartition(" ")[2] for each in metadata.get_all("Classifier")]
    pythons = [each for each in named if re.fullmatch(r"3\.\d+", each)]
    assert pythons == [f"3.{minor}" for minor in range(11, 15)]
    assert metadata["Requires-Python"] == f">={pythons[0]}"


def test_an_installed_copy_has_every_file_of_the_page(installed: Path):
    page = Path("engine", "server", "page")
    files = [str(file.relative_to(ROOT)) for file in (ROOT / page).rglob("*") if file.is_file()]
    assert len(files) > 10
    assert cmpfiles(ROOT, installed, files, shallow=False)[0] == files
