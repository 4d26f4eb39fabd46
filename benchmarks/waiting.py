"""How long a short request waits beside long work, and how long the longest step of that work is.

    python -m benchmarks.waiting
    python -m benchmarks.waiting --case sweep --case prompt

The default model. In each case long work is begun, and then, one after another, requests for one
token are sent, each by its own client. A step is what the generation thread does before other work
may run; the longest of a case is that of its long work and of the short requests together.
"""

import engine  # noqa: F401

# isort: split
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from threading import Thread

import click
import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks.serving import OURS, PATIENCE, served

SERVER = ["-c", OURS, "serve", "--model", "smollm2"]
STARTED_BY_ITSELF = "server"
"""What the server does of its own, such as to load its first model."""
SHORT = {"prompt": "The capital of France is", "max_tokens": 1}
WORDS = "When Mary and John went to the store , John gave a drink to"


@dataclass(frozen=True)
class Waited:
    """Seconds that each short request took, and the seconds of the longest step by its work."""

    seconds: list[float]
    steps: dict[str, float]

    @property
    def ratio(self) -> float:
        """The longest wait in longest steps."""
        return max(self.seconds) / max(self.steps.values())


@contextmanager
def request(url: str, path: str, body: dict) -> Iterator[Thread]:
    """A request under way, whose reply nobody needs."""
    thread = Thread(
        target=lambda: httpx.post(f"{url}{path}", json=body, timeout=PATIENCE), daemon=True
    )
    thread.start()
    yield thread


@contextmanager
def sweep(url: str) -> Iterator[Thread]:
    """All 270 heads patched over prompts of 64 tokens."""
    clean = [100 + k for k in range(64)]
    body = {"clean": clean, "corrupted": [*clean[:8], 77, *clean[9:]], "answer": 5, "distractor": 6}
    with request(url, "/v1/circuits/patch", body) as thread:
        yield thread


@contextmanager
def prompt(url: str) -> Iterator[Thread]:
    """A prompt of 4,000 tokens."""
    body = {"prompt": [100 + k % 900 for k in range(4000)], "max_tokens": 1}
    with request(url, "/v1/completions", body) as thread:
        yield thread


@contextmanager
def forward(url: str) -> Iterator[Thread]:
    """A forward pass over 3,000 tokens."""
    body = {"tokens": [[100 + k % 900 for k in range(3000)]]}
    with request(url, "/v1/forward", body) as thread:
        yield thread


@contextmanager
def session(url: str) -> Iterator[None]:
    """A session that nobody goes on with, paused in the middle of a pass."""
    body = {"prompt": WORDS, "breakpoints": [{"layer_name": "12", "component": "residual"}]}
    httpx.post(f"{url}/v1/sessions", json=body, timeout=PATIENCE).raise_for_status()
    yield


@contextmanager
def streams(url: str) -> Iterator[None]:
    """Three streams of 1,000 tokens that nobody reads."""
    body = {"prompt": WORDS, "max_tokens": 1000, "stream": True, "logit_bias": {"0": -100}}
    with ExitStack() as stack:
        for _ in range(3):
            http = stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE))
            stack.enter_context(http.stream("POST", "/v1/completions", json=body))
        yield


@contextmanager
def loading(url: str) -> Iterator[Thread]:
    """Another model being loaded."""
    body = {"model_path": "smollm2", "model_id": "another"}
    with request(url, "/v1/models/load", body) as thread:
        yield thread


CASES: dict[str, Callable] = {
    "sweep": sweep,
    "prompt": prompt,
    "forward": forward,
    "session": session,
    "streams": streams,
    "loading": loading,
}


@click.command()
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)), default=list(CASES))
@click.option("--requests", default=5, show_default=True, help="Short requests of each case.")
def main(names: tuple[str, ...], requests: int) -> None:
    """Print for each case the waits, the longest step, and the ratio of the longest of both."""
    with served(SERVER) as (url, _):
        warm(url)
        alone = median(waited(url) for _ in range(requests))
    table = Table("beside", "wait", "longest wait", "longest step", "ratio", box=None)
    for name in names:
        found = measured(CASES[name], requests)
        work, step = max(found.steps.items(), key=lambda each: each[1])
        table.add_row(
            (CASES[name].__doc__ or name).rstrip("."),
            f"{median(found.seconds):.2f} s",
            f"{max(found.seconds):.2f} s",
            f"{step:.2f} s, {work}",
            f"{found.ratio:.2f}",
        )
    console = Console(width=110)
    console.print(f"A request for one token takes {alone:.2f} s alone.")
    console.print(table)


def measured(case: Callable, requests: int) -> Waited:
    """The waits while some long work is under way, at most so many."""
    with served(SERVER) as (url, _):
        warm(url)
        with case(url) as thread:
            time.sleep(0.5)
            seconds = []
            while len(seconds) < requests and (thread is None or thread.is_alive()):
                seconds.append(waited(url))
                time.sleep(0.1)
            return Waited(seconds, longest_steps(url))


def warm(url: str) -> None:
    """What only the first request finds out, and what it brings to the processor."""
    waited(url)


def waited(url: str) -> float:
    """Seconds until a client has its one token."""
    began = time.perf_counter()
    httpx.post(f"{url}/v1/completions", json=SHORT, timeout=PATIENCE).raise_for_status()
    return time.perf_counter() - began


def longest_steps(url: str) -> dict[str, float]:
    """The seconds of the longest step of each kind of work."""
    text = httpx.get(f"{url}/metrics", timeout=PATIENCE).text
    return {
        sample.labels["work"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "neuroscope_longest_turn_seconds"
        and sample.labels["work"] != STARTED_BY_ITSELF
    }


if __name__ == "__main__":
    sys.exit(main())
