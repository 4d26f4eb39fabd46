"""How much memory this process may still take for arrays, by MLX and by the operating system."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

import mlx.core as mx
import psutil

from engine.machine.device import on_cpu

CGROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
"""Limits from here on are a system's way to say that there is none."""
V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""The files of a control group's limit and use, and what of its use can be taken back at once."""


def available_bytes() -> int:
    """The bytes that arrays may still take, at least 0.

    That is the least of what MLX's memory limit leaves, what its device has or recommends, what
    the system has available, and what the control groups that the process is in allow. Memory
    that MLX keeps for its next arrays counts as available.
    """
    reusable = mx.get_cache_memory()
    left = [mx.get_memory_limit() - mx.get_active_memory()]
    left += [device - mx.get_active_memory() for device in _of_device()]
    left.append(psutil.virtual_memory().available + reusable)
    left += [room + reusable for room in _of_control_groups(CGROUPS, MOUNT)]
    return max(0, min(left))


class Lent(Protocol):
    """Arrays that are kept as long as nobody needs their memory."""

    @property
    def nbytes(self) -> int: ...

    def release(self, nbytes: int) -> None:
        """Drop at least so many bytes of them, if there are as many."""


_lent: WeakSet[Lent] = WeakSet()


def lend(arrays: Lent) -> None:
    """Have arrays be released when their memory is needed, for as long as somebody has them."""
    _lent.add(arrays)


def room_for(nbytes: int) -> int:
    """The bytes that arrays may still take, once what is lent was released if those of `nbytes`
    need it and it suffices."""
    available = available_bytes()
    lent = list(_lent)
    if available < nbytes <= available + sum(each.nbytes for each in lent):
        for each in lent:
            each.release(nbytes - available)
            available = available_bytes()
    return available


def _of_device() -> Iterator[int]:
    """What a GPU has for arrays; nothing on a CPU, whose memory is the system's."""
    if not on_cpu():
        info = mx.device_info(mx.default_device())
        for name in ("max_recommended_working_set_size", "memory_size", "total_memory"):
            size = info.get(name)
            if isinstance(size, int):
                yield size


def _of_control_groups(cgroups: Path, mount: Path) -> Iterator[int]:
    """What each control group on the way to this process' own allows beyond what it uses."""
    if not cgroups.is_file():
        return
    for line in cgroups.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            yield from _of_hierarchy(mount / "memory", path, *V1)
        elif controllers == "":
            yield from _of_hierarchy(mount, path, *V2)


def _of_hierarchy(
    root: Path, path: str, limit_name: str, used_name: str, idle_name: str
) -> Iterator[int]:
    """The room in a group and in those that it is in; a container may see none but its root."""
    own = root / path.lstrip("/")
    for folder in [own, *own.parents]:
        limit = _number(folder / limit_name)
        if limit is not None and limit < UNLIMITED:
            used = _number(folder / used_name) or 0
            yield limit - used + _idle(folder / "memory.stat", idle_name)
        if folder == root:
            break


def _number(file: Path) -> int | None:
    """A file's number; None without the file, or with a word such as max in it."""
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdecimal() else None


def _idle(file: Path, name: str) -> int:
    rows = file.read_text().splitlines() if file.is_file() else []
    return next((int(row.split()[1]) for row in rows if row.startswith(f"{name} ")), 0)
