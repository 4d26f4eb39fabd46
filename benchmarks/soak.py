"""Mixed load with faults for a bounded time, and whether the server keeps what it takes.

    python -m benchmarks.soak --seconds 600
    python -m benchmarks.soak --seconds 60 --model FOLDER --clients 4

Clients ask for everything at once: generations whole, streamed, read in part, or left; captures,
sweeps, sessions, models to load; and they send what is malformed or cannot work. Memory, open files
and threads are read when the load is warm and at the end, each time with nothing under way. The
command fails if they have grown, if a reply says that the server failed, or if it has no answer.
"""

import engine  # noqa: F401

# isort: split
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.serving import OURS, served

PATIENCE = 300
WARM = 0.3
"""The share of the time after which the load is warm."""
MOST_MEMORY, MOST_FILES, MOST_THREADS = 0.1, 8, 8
"""What may be more at the end than when the load was warm: a share of the memory, and numbers."""
SPARE_BYTES = 32 << 20
"""Memory that may be more whatever the size of the model: what allocators keep."""
HOOK = {"layer_name": "*", "component": "residual"}
MISSING = {"layer_name": "999", "component": "residual"}
WORDS = [
    "When",
    "Mary",
    "and",
    "John",
    "went",
    "to",
    "the",
    "store",
    "John",
    "gave",
    "a",
    "drink",
    "to",
]
MALFORMED = (b"{", b"[]", b'{"prompt": 7}', b"\xff\xfe", b"[" * 5000, b'{"max_tokens": "1"}', b"")


@dataclass(frozen=True)
class Taken:
    """What a process takes: bytes of memory, open files, threads."""

    memory: int
    files: int
    threads: int

    @classmethod
    def by(cls, process: psutil.Process) -> "Taken":
        """What it takes now."""
        return cls(process.memory_info().rss, process.num_fds(), process.num_threads())


@dataclass(frozen=True)
class Soaked:
    """How often each kind of request was sent, what failed, and what was taken."""

    sent: Counter[str]
    failures: list[str]
    before: Taken
    after: Taken

    @property
    def problems(self) -> list[str]:
        """What failed, and what has grown."""
        found = list(self.failures)
        before, after = self.before, self.after
        if after.memory > before.memory * (1 + MOST_MEMORY) + SPARE_BYTES:
            found.append(f"memory grew from {before.memory} to {after.memory} bytes")
        if after.files > before.files + MOST_FILES:
            found.append(f"open files grew from {before.files} to {after.files}")
        if after.threads > before.threads + MOST_THREADS:
            found.append(f"threads grew from {before.threads} to {after.threads}")
        return found


class Client:
    """One client, which does one thing after another, at random."""

    def __init__(self, url: str, model: str, seed: int) -> None:
        self.url = url
        self.model = model
        self.random = random.Random(seed)
        self.sent: Counter[str] = Counter()
        self.failures: list[str] = []
        self.http = httpx.Client(
            base_url=url, timeout=PATIENCE, headers={"X-Session-Id": f"soak-{seed}"}
        )
        self.kinds: list[Callable[[], None]] = [
            self.completion,
            self.stream,
            self.left_stream,
            self.left_request,
            self.malformed,
            self.impossible,
            self.capture,
            self.registered_hooks,
            self.sweep,
            self.left_sweep,
            self.session,
            self.lens,
            self.load,
            self.cancelled,
            self.half_request,
        ]

    def run_until(self, deadline: float) -> None:
        """Send requests until a moment of `time.monotonic`."""
        while time.monotonic() < deadline:
            kind = self.random.choice(self.kinds)
            self.sent[kind.__name__] += 1
            try:
                kind()
            except (httpx.HTTPError, OSError, KeyError) as error:
                self.failures.append(f"{kind.__name__}: {type(error).__name__}: {error}")

    def prompt(self) -> str:
        count = self.random.choice([1, 4, 12, 12, 60])
        return " ".join(self.random.choices(WORDS, k=count))

    def body(self, **fields: object) -> dict:
        chosen = {
            "max_tokens": self.random.choice([1, 4, 12]),
            "temperature": self.random.choice([0, 0.8]),
        }
        return {"prompt": self.prompt()} | chosen | fields

    def ask(self, method: str, path: str, **options: object) -> httpx.Response:
        """A reply, which is a failure if it says that the server failed."""
        response = self.http.request(method, path, **options)  # type: ignore[arg-type]
        if response.status_code == 500:
            self.failures.append(f"{method} {path}: {response.text[:300]}")
        return response

    def post(self, path: str, body: dict) -> httpx.Response:
        return self.ask("POST", path, json=body)

    # what works

    def completion(self) -> None:
        self.post("/v1/completions", self.body(n=self.random.choice([1, 2])))

    def stream(self) -> None:
        with self.http.stream("POST", "/v1/completions", json=self.body(stream=True)) as reply:
            for _ in reply.iter_lines():
                pass

    def capture(self) -> None:
        body = self.body(activation_hooks=[HOOK], activation_format="reference")
        reply = self.post("/v1/completions/with_activations", body)
        if reply.status_code == 200:
            path = f"/v1/activations/{reply.json()['capture_id']}"
            self.ask("GET", f"{path}/tensors")
            self.ask("DELETE", path)

    def registered_hooks(self) -> None:
        self.post("/v1/activations/hooks", {"hooks": [HOOK | {"layer_name": "0"}]})
        self.post("/v1/completions", self.body())
        self.ask("DELETE", "/v1/activations/hooks")

    def sweep(self) -> None:
        self.post("/v1/circuits/patch", self._sweep() | {"layers": [0, 1]})

    def session(self) -> None:
        body = {"prompt": self.prompt(), "breakpoints": [HOOK | {"layer_name": "0"}]}
        reply = self.post("/v1/sessions", body)
        if reply.status_code == 200:
            path = f"/v1/sessions/{reply.json()['session_id']}"
            if self.random.random() < 0.5:
                self.post(path, {})
            else:
                self.ask("DELETE", path)

    def lens(self) -> None:
        self.post("/v1/logit_lens", {"prompt": self.prompt(), "top_k": 3})
        self.post("/v1/embeddings", {"input": [self.prompt(), self.prompt()]})

    def load(self) -> None:
        if self.random.random() < 0.2:
            self.post("/v1/models/load", {"model_path": self.model, "model_id": "other"})
            self.post("/v1/completions", self.body(model="other"))
            self.post("/v1/models/unload", {"model": "other"})

    # what does not

    def malformed(self) -> None:
        path = self.random.choice(["/v1/completions", "/v1/forward", "/v1/circuits/patch"])
        self.ask("POST", path, content=self.random.choice(MALFORMED))

    def impossible(self) -> None:
        for body in (
            self.body(activation_hooks=[MISSING]),
            self.body(activation_hooks=[HOOK | {"positions": [9999]}]),
            self.body(activation_hooks=[], interventions=[MISSING | {"operation": "ablation"}]),
        ):
            self.post("/v1/completions/with_activations", body)

    def left_stream(self) -> None:
        body = self.body(stream=True, max_tokens=200)
        with self.http.stream("POST", "/v1/completions", json=body) as reply:
            next(reply.iter_lines(), None)

    def left_sweep(self) -> None:
        with self.http.stream("POST", "/v1/circuits/patch", json=self._sweep(stream=True)) as reply:
            next(reply.iter_lines(), None)

    def left_request(self) -> None:
        path = self.random.choice(["/v1/completions", "/v1/forward", "/v1/logit_lens"])
        body = {"prompt": self.prompt()}
        with suppress(httpx.ReadTimeout):
            self.http.post(path, json=body, timeout=self.random.choice([0.01, 0.1]))

    def half_request(self) -> None:
        address = httpx.URL(self.url)
        with socket.create_connection((address.host, address.port or 80)) as connection:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-")

    def cancelled(self) -> None:
        for job in self.ask("GET", "/v1/jobs").json()["jobs"][:1]:
            self.ask("DELETE", f"/v1/jobs/{job['job_id']}")
        self.ask("GET", "/metrics")

    def _sweep(self, **fields: object) -> dict:
        clean = [self.random.randrange(20, 90) for _ in range(10)]
        corrupted = [*clean[:4], 95, *clean[5:]]
        return {"clean": clean, "corrupted": corrupted, "answer": 5, "distractor": 6} | fields


def soak(url: str, process: psutil.Process, model: str, *, seconds: float, clients: int) -> Soaked:
    """Load a server for so long; `model` is what it may be asked to load."""
    several = [Client(url, model, seed) for seed in range(clients)]
    taken = []
    for share in (WARM, 1 - WARM):
        deadline = time.monotonic() + seconds * share
        with ThreadPoolExecutor(clients) as pool:
            for done in [pool.submit(each.run_until, deadline) for each in several]:
                done.result()
        _wait_for_rest(url)
        taken.append(Taken.by(process))
    for each in several:
        each.http.close()
    sent = sum((each.sent for each in several), Counter[str]())
    return Soaked(sent, [failure for each in several for failure in each.failures], *taken)


def _wait_for_rest(url: str) -> None:
    """Wait until nothing is under way, and what was is given back."""
    deadline = time.monotonic() + PATIENCE
    while httpx.get(f"{url}/v1/jobs", timeout=PATIENCE).json()["jobs"]:
        if time.monotonic() > deadline:
            raise TimeoutError("jobs do not end")
        time.sleep(0.1)
    httpx.post(f"{url}/v1/models/unload", json={"model": "other"}, timeout=PATIENCE)
    time.sleep(1)


@click.command()
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--clients", default=8, show_default=True)
@click.option("--model", default="smollm2", show_default=True, help="A model, or its folder.")
def main(seconds: float, clients: int, model: str) -> None:
    """Print what was sent and what was taken; exit with 1 if something failed or grew."""
    arguments = ["-c", OURS, "serve", "--model", model, "--capture-budget", "64"]
    arguments += ["--model-root", str(Path(model).parent)] if Path(model).is_dir() else []
    with served(arguments) as (url, process):
        found = soak(url, process, model, seconds=seconds, clients=clients)
    table = Table("", "warm", "at the end", box=None)
    table.add_row("memory", *(f"{each.memory >> 20} MB" for each in (found.before, found.after)))
    table.add_row("open files", str(found.before.files), str(found.after.files))
    table.add_row("threads", str(found.before.threads), str(found.after.threads))
    console = Console(width=100)
    console.print(f"{found.sent.total()} rounds of {clients} clients in {seconds:.0f} s:")
    console.print(json.dumps(dict(found.sent.most_common())))
    console.print(table)
    for problem in found.problems[:20]:
        console.print(problem, style="red")
    sys.exit(1 if found.problems else 0)


if __name__ == "__main__":
    main()
