"""An engine in a process of its own, for as long as a block of code needs one."""

import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from bridge.client import LMStudioNeuroScopeClient
from bridge.errors import BridgeError

ADDRESS = re.compile(r"http://[\w.]+:\d+")
GRACE_SECONDS = 10


class EngineStartError(BridgeError):
    """The engine ended before it listened; the message is what it printed."""


@contextmanager
def running_engine(model: str, *options: str) -> Iterator[LMStudioNeuroScopeClient]:
    """Serve `model` on a free port, yield a client of it, and stop it on every way out.

    `options` are further ones of `neuroscope-bridge serve`. Raises EngineStartError.
    """
    command = [sys.executable, "-m", "bridge", "serve", "--model", model, "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with LMStudioNeuroScopeClient(_address(process)) as client:
            threading.Thread(target=deque, args=(process.stdout, 0), daemon=True).start()
            yield client
    finally:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    said = []
    for line in process.stdout or ():
        said.append(line)
        if address := ADDRESS.search(line):
            return address[0]
    raise EngineStartError("".join(said).strip())
