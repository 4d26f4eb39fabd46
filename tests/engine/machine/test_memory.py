"""What memory is left is the least of what MLX, its device, the system and its limits leave."""

from pathlib import Path
from types import SimpleNamespace

import mlx.core as mx
import pytest

from engine.machine import memory

MEGABYTE = 1 << 20


@pytest.fixture
def limit():
    """Sets MLX's memory limit, until the test is over."""
    before = mx.set_memory_limit(1 << 40)
    yield mx.set_memory_limit
    mx.set_memory_limit(before)


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a control group's files of either version, and places this process in the group."""
    cgroups, mount = tmp_path / "cgroup", tmp_path / "mount"
    cgroups.write_text("")
    monkeypatch.setattr(memory, "CGROUPS", cgroups)
    monkeypatch.setattr(memory, "MOUNT", mount)

    def write(version: str, path: str, most: str, used: int, idle: int) -> None:
        is_v2 = version == "v2"
        cgroups.write_text("0::/a/b\n" if is_v2 else "5:cpu:/x\n4:memory:/a/b\n")
        folder = (mount if is_v2 else mount / "memory") / path
        folder.mkdir(parents=True, exist_ok=True)
        names = ("memory.max", "memory.current", "inactive_file")
        if not is_v2:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        (folder / names[0]).write_text(f"{most}\n")
        (folder / names[1]).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {idle}\nx 1\n")

    return write


def test_mlx_s_memory_limit_counts_with_what_it_uses(limit):
    held = mx.zeros(MEGABYTE)
    mx.eval(held)
    limit(mx.get_active_memory() + 300 * MEGABYTE)
    assert memory.available_bytes() == pytest.approx(300 * MEGABYTE, abs=64)
    more = mx.ones(25 * MEGABYTE)
    mx.eval(more)
    assert memory.available_bytes() == pytest.approx(200 * MEGABYTE, abs=MEGABYTE)
    del more
    assert memory.available_bytes() == pytest.approx(300 * MEGABYTE, abs=MEGABYTE)
    limit(0)
    assert memory.available_bytes() == 0


def test_what_the_system_has_left_counts(limit, monkeypatch):
    mx.clear_cache()
    left = SimpleNamespace(available=77 * MEGABYTE)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: left)
    assert memory.available_bytes() == 77 * MEGABYTE
    kept = mx.ones(2 * MEGABYTE)
    mx.eval(kept)
    del kept
    expected = 77 * MEGABYTE + mx.get_cache_memory()
    assert memory.available_bytes() == pytest.approx(expected, abs=64)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_control_group_s_limit_counts_less_what_can_be_taken_back(limit, group, version):
    mx.clear_cache()
    group(version, "a/b", str(100 * MEGABYTE), 60 * MEGABYTE, 10 * MEGABYTE)
    assert memory.available_bytes() == 50 * MEGABYTE


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_so_does_that_of_a_group_around_it(limit, group, version):
    mx.clear_cache()
    group(version, "a/b", str(100 * MEGABYTE), 10 * MEGABYTE, 0)
    group(version, "a", str(80 * MEGABYTE), 55 * MEGABYTE, 0)
    assert memory.available_bytes() == 25 * MEGABYTE


@pytest.mark.parametrize(("version", "none"), [("v1", str((1 << 63) - 4096)), ("v2", "max")])
def test_a_group_without_a_limit_says_nothing(limit, group, version, none):
    plain = memory.available_bytes()
    group(version, "a/b", none, 60 * MEGABYTE, 0)
    assert memory.available_bytes() == pytest.approx(plain, rel=0.2)


def test_a_container_that_sees_its_own_group_as_the_root(limit, group):
    mx.clear_cache()
    group("v2", ".", str(100 * MEGABYTE), 40 * MEGABYTE, 0)
    assert memory.available_bytes() == 60 * MEGABYTE
