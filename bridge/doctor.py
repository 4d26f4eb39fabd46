"""What of this machine the bridge finds, and how to mend what it does not."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from bridge.client import LMStudioNeuroScopeClient
from bridge.errors import LMStudioError

NODE = 20
"""The oldest Node that Amber runs on."""
SECONDS = 3


@dataclass(frozen=True)
class Finding:
    """Something of the machine; `mend` says what to do where it is missing or wrong."""

    name: str
    found: str
    mend: str | None = None


def findings(url: str) -> Iterator[Finding]:
    """The engine's part of the machine, the model, the address, and the Smalltalk systems."""
    yield from of_engine()
    yield of_address(url)
    yield of_node()
    yield of_program("GNU Smalltalk", ("gst",), "GST", "set GST to the path of its program")
    yield of_program("Squeak", ("squeak", "squeakvm"), None, "apt-get install squeak-vm scratch")
    yield of_program("Cuis", (), "CUIS", "set CUIS to the path of a program that starts it")
    yield of_program("Pharo", ("pharo", "pharo-ui"), None, "https://pharo.org/download")
    yield of_program("Chromium", ("chromium", "google-chrome"), None, "apt-get install chromium")


def of_engine() -> Iterator[Finding]:
    """What MLX computes with, the memory that is left, and the default model."""
    from engine.machine.description import description
    from engine.machine.memory import available_bytes
    from engine.models.smollm2 import smollm2_folder

    for name, value in description().items():
        slow = name == "BLAS" and "reference" in value
        yield Finding(name, value, "pip install 'neuroscope-bridge[cpu]'" if slow else None)
    yield Finding("memory for models and captures", f"{available_bytes() / 1e9:.1f} GB")
    folder = smollm2_folder()
    if folder.is_dir():
        yield Finding("default model", str(folder))
    else:
        yield Finding("default model", "not here", "neuroscope-bridge models pull smollm2")


def of_address(url: str) -> Finding:
    """Whether an engine runs at the address, or one could."""
    address = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(SECONDS)
        if probe.connect_ex((address.hostname or "127.0.0.1", address.port or 80)):
            return Finding(url, "free; neuroscope-bridge serve starts an engine there")
    try:
        with LMStudioNeuroScopeClient(url, timeout=SECONDS) as client:
            health = client.health()
            return Finding(url, f"an engine {health['version']}, {health['status']}")
    except (httpx.HTTPError, LMStudioError, ValueError, KeyError, TypeError):
        return Finding(
            url, "taken by another program", "neuroscope-bridge serve --port with another port"
        )


def of_node() -> Finding:
    """Whether there is a Node that Amber runs on."""
    program = shutil.which("node")
    mend = f"Node {NODE} or later, from https://nodejs.org"
    if program is None:
        return Finding("Node, for Amber", "not found", mend)
    run = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    said = run.stdout.strip()
    version = re.match(r"v(\d+)\.", said)
    old = version is None or int(version[1]) < NODE
    return Finding("Node, for Amber", f"{said} at {program}", mend if old else None)


def of_program(name: str, programs: tuple[str, ...], variable: str | None, mend: str) -> Finding:
    """A program that a variable names, or the first of some names that is on the path."""
    named = os.environ.get(variable) if variable else None
    if named and not shutil.which(named):
        return Finding(name, f"{variable} names {named}, which is no program", mend)
    found = named or next(filter(None, map(shutil.which, programs)), None)
    return Finding(name, found) if found else Finding(name, "not found", mend)
