"""Renders chat templates in a process of its own; started as a script by `template_process`.

A template is a program of the model's author. Here it may neither run longer than the given time,
nor take much memory, nor write a file: the system ends the process. It imports nothing of ours.
"""

import json
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

MEMORY = 2 << 30
"""Bytes of address space: the imports take a tenth of it."""
LONGEST = 4_000_000
"""Characters of a rendered text."""


def main() -> None:
    """Read requests from standard input, each a line of JSON, until it ends; the first argument is
    the time for each in seconds."""
    limit = float(sys.argv[1])
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what prints does not reply
    from transformers.utils.chat_template_utils import render_jinja_template

    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0)):
        try:
            resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):  # not on this system
            continue
    _reply(output, {"ready": True})
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_REAL, limit)  # whose signal ends the process
        reply = _rendered(render_jinja_template, json.loads(line))
        _reply(output, reply)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _rendered(render: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        texts, indices = render(**arguments)
        if sum(map(len, texts)) > LONGEST:
            raise ValueError(f"it renders more than {LONGEST} characters")
        return {"rendered": [texts, indices]}
    except Exception as error:
        is_template = any(kind.__name__ == "TemplateError" for kind in type(error).__mro__)
        kind = "TemplateError" if is_template else type(error).__name__
        return {"error": kind, "message": str(error)}


def _reply(output: BinaryIO, reply: dict[str, Any]) -> None:
    output.write(json.dumps(reply).encode() + b"\n")
    output.flush()


if __name__ == "__main__":
    main()
