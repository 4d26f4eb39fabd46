"""Where models and libraries are kept between runs, and how they come to be there whole."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """The user's cache: `$NEUROSCOPE_CACHE`, or the place that this system sets aside."""
    chosen = os.environ.get("NEUROSCOPE_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("neuroscope-bridge")


def models_folder() -> Path:
    """The folder that contains one mlx-lm folder a pulled model, named for the model."""
    return cache_folder() / "models"


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """The folder `target`; if it is not there yet, `build` fills an empty one that becomes it.

    `target` appears whole or not at all: an exception removes what was begun, and what a killed
    process left behind is removed by the next one. A second process waits for the first.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    begun = target.with_name(f".{target.name}.begun")
    with open(target.with_name(f".{target.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            try:
                build(begun)
                begun.rename(target)
            except BaseException:
                shutil.rmtree(begun, ignore_errors=True)
                raise
    return target
