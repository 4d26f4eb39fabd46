"""What is built into the cache is there whole, or not at all, and only once."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.cache import build_once, cache_folder


def visible(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if not entry.name.endswith(".lock")]


def test_a_folder_is_built_once_and_then_found(tmp_path):
    def build(folder: Path) -> None:
        (folder / "file").write_text("first")

    assert (build_once(tmp_path / "a" / "thing", build) / "file").read_text() == "first"
    again = build_once(tmp_path / "a" / "thing", lambda folder: pytest.fail("built again"))
    assert (again / "file").read_text() == "first"


def test_a_failed_build_leaves_nothing(tmp_path):
    def build(folder: Path) -> None:
        (folder / "half").write_text("made")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build_once(tmp_path / "thing", build)
    assert visible(tmp_path) == []


def test_a_killed_build_is_never_taken_for_a_whole_one_and_is_cleared_away(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from engine.cache import build_once\n"
        "def build(folder):\n"
        "    (folder / 'half').write_text('made'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "build_once(Path(sys.argv[1]), build)"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path / "thing")], check=False)
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "thing").exists()
    build_once(tmp_path / "thing", lambda folder: (folder / "whole").touch())
    assert visible(tmp_path) == ["thing"]
    assert os.listdir(tmp_path / "thing") == ["whole"]


def test_of_two_that_want_the_same_one_builds_and_both_get_it(tmp_path):
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        time.sleep(0.2)
        (folder / "file").touch()

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: build_once(tmp_path / "thing", build), range(2)))
    assert both == [tmp_path / "thing"] * 2
    assert len(built) == 1


def test_the_environment_says_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROSCOPE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("NEUROSCOPE_CACHE")
    assert cache_folder().name == "neuroscope-bridge"
