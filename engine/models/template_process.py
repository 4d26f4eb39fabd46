"""Chat templates rendered apart: one that never ends, or takes all memory, harms no one else.

`transformers` renders in the process that asks, where nothing could stop a template, least of all
one step of it that takes hours, as ``9 ** (9 ** 9)`` does with Python's lock held.
"""

import builtins
import json
import os
import selectors
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, cast

from jinja2 import TemplateError
from transformers import tokenization_utils_base
from transformers.utils.chat_template_utils import render_jinja_template

LIMIT = 10.0
"""Seconds for one rendering."""
START = 120.0
"""Seconds for a process to start on a busy machine."""
MOST_PROCESSES = 8
SCRIPT = Path(__file__).with_name("template_worker.py")
INHERITED = ("PATH", "PYTHONPATH", "PYTHONHOME", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
"""The environment of the process: no token is in it."""


class TemplateLimitError(TemplateError):
    """A template that ran too long, or took too much memory."""


def render_apart(chat_template: str | None = None, **arguments: Any) -> tuple[list, list]:
    """What transformers' `render_jinja_template` returns, computed in a process of the template.

    Raises TemplateLimitError, TemplateError with the template's own words, and the built-in
    exceptions that rendering raises.
    """
    line = json.dumps({"chat_template": chat_template, **arguments}).encode() + b"\n"
    return _process_of(chat_template or "").render(line)


def install() -> None:
    """Let all tokenizers of this process render apart."""
    setattr(tokenization_utils_base, render_jinja_template.__name__, render_apart)


class TemplateProcess:
    """The process of one template, which is started when it is needed, and again if it ended."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def render(self, line: bytes) -> tuple[list, list]:
        """Send a request and read its reply."""
        with self._lock:
            process = self._started()
            try:
                cast(Any, process.stdin).write(line)
                cast(Any, process.stdin).flush()
                reply = self._read(process, LIMIT + 1)  # the process ends itself at the limit
            except BaseException as error:
                self._end()
                if isinstance(error, (EOFError, BrokenPipeError, TimeoutError)):
                    raise TemplateLimitError(
                        f"it did not end within {LIMIT:g} seconds, or took too much memory"
                    ) from error
                raise
        if "error" in reply:
            raise _error(reply["error"], reply["message"])
        texts, indices = reply["rendered"]
        return texts, indices

    def close(self) -> None:
        """End the process, once it is not in use."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(SCRIPT), str(LIMIT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment | {"USE_TORCH": "0", "HF_HUB_OFFLINE": "1"},
            )
            try:
                self._read(self._process, START)
            except BaseException as error:
                self._end()
                raise RuntimeError("the process that renders chat templates failed") from error
        return self._process

    def _read(self, process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any]:
        """The next reply. Raises EOFError if the process ended, TimeoutError."""
        output = cast(Any, process.stdout).fileno()
        deadline = monotonic() + seconds
        pieces = [self._unread]
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while b"\n" not in pieces[-1]:
                if not selector.select(max(0, deadline - monotonic())):
                    raise TimeoutError
                pieces.append(os.read(output, 1 << 16))
                if not pieces[-1]:
                    raise EOFError
        reply, _, self._unread = b"".join(pieces).partition(b"\n")
        return json.loads(reply)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process, self._unread = None, b""


_processes: OrderedDict[str, TemplateProcess] = OrderedDict()
_lock = Lock()


def _process_of(template: str) -> TemplateProcess:
    with _lock:
        process = _processes.setdefault(template, TemplateProcess())
        _processes.move_to_end(template)
        too_many = range(len(_processes) - MOST_PROCESSES)
        unused = [_processes.popitem(last=False)[1] for _ in too_many]
    for each in unused:
        each.close()
    return process


def _error(kind: str, message: str) -> Exception:
    """The exception that rendering raised in the process."""
    if kind == "TemplateError":
        return TemplateError(message)
    builtin = getattr(builtins, kind, None)
    if isinstance(builtin, type) and issubclass(builtin, Exception):
        return builtin(message)
    return RuntimeError(f"{kind}: {message}")
