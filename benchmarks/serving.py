"""Tokens a second and waiting times of many clients at once, beside mlx_lm.server.

    python -m benchmarks.serving
    python -m benchmarks.serving --clients 8 --clients 64 --tokens 32
    python -m benchmarks.gpt_oss --folder /tmp/gpt-oss
    python -m benchmarks.serving --model /tmp/gpt-oss

The default model's weights in float32, or a model as its folder has it; the same BLAS, one server
after another in one run. Each client asks over HTTP for a streamed completion of its own prompt,
all of them at the same moment.
"""

import engine  # noqa: F401

# isort: split
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Barrier

import click
import httpx
import psutil
from mlx_lm.utils import save_model
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from engine.models.smollm2 import pull_smollm2
from engine.runs.kit import load_model

THEIRS = "import engine, sys; from mlx_lm.server import main; sys.exit(main())"
"""mlx_lm.server with the BLAS that the engine puts in place."""
OURS = "import sys; from bridge.cli import main; sys.exit(main())"
WORDS = range(1000, 1100)
"""The tokens that prompts are made of."""
HOOKS = [{"layer_name": "*", "component": "residual"}]
PATIENCE = 1800


@dataclass(frozen=True)
class Measured:
    """Of clients at once: tokens a second of all, the server's processor seconds, which tell more
    on a busy machine, and the seconds to each client's first token, and to its last."""

    tokens_per_second: float
    processor: float
    first: list[float]
    last: list[float]


@dataclass(frozen=True)
class Asked:
    """What a server is asked for: a path, and what a request has beyond a completion's fields."""

    name: str
    path: str = "/v1/completions"
    extra: tuple[tuple[str, object], ...] = ()


@click.command()
@click.option("--clients", multiple=True, type=int, default=(1, 8, 32, 64), show_default=True)
@click.option("--tokens", default=24, show_default=True, help="Tokens of each completion.")
@click.option(
    "--model",
    "chosen",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A model folder; default: the default model in float32.",
)
def main(clients: tuple[int, ...], tokens: int, chosen: Path | None) -> None:
    """Print throughput and waiting times, and the ratios to mlx_lm.server's throughput."""
    with tempfile.TemporaryDirectory() as folder:
        model = chosen or saved(Path(folder) / "float32")
        words = words_of(model)
        theirs = ["-c", THEIRS, "--model", str(model), "--decode-concurrency", "64"]
        ours = ["-c", OURS, "serve", "--model", str(model)]
        captured = (("activation_hooks", HOOKS), ("activation_format", "reference"))
        plain = Asked("here")
        hooked = Asked("here, residuals captured", "/v1/completions/with_activations", captured)
        measured = {
            **measure(theirs, [Asked("mlx_lm.server")], clients, words, tokens),
            **measure(ours, [plain, hooked], clients, words, tokens),
        }
    table = Table(
        "server", "clients", "tokens/s", "ratio", "processor", "first token", "last token", box=None
    )
    for count in clients:
        base = measured["mlx_lm.server"][count].tokens_per_second
        for name, results in measured.items():
            each = results[count]
            table.add_row(
                name,
                str(count),
                f"{each.tokens_per_second:.1f}",
                f"{each.tokens_per_second / base:.2f}",
                f"{each.processor:.1f} s",
                f"{median(each.first):.2f} s, at most {max(each.first):.2f}",
                f"{median(each.last):.2f} s, at most {max(each.last):.2f}",
            )
    Console(width=110).print(table)


def saved(folder: Path) -> Path:
    """The default model in float32, which both servers load as it is."""
    kit = load_model("smollm2", dtype="float32")
    shutil.copytree(pull_smollm2(), folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    save_model(folder, kit.model)
    config = {key: value for key, value in kit.config.items() if not key.startswith("quantization")}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def words_of(folder: Path) -> list[str]:
    """Texts of one token each."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer.decode([token]).strip() for token in WORDS]


def measure(
    command: list[str], kinds: list[Asked], clients: tuple[int, ...], words: list[str], tokens: int
) -> dict[str, dict[int, Measured]]:
    """What each kind of request reaches at one server, by name and number of clients."""
    measured = {}
    with served(command) as (url, server), httpx.Client(base_url=url, timeout=PATIENCE) as http:
        for kind in kinds:
            answered(http, kind, prompt(words, 0), tokens)  # the first requests find all cold
            at_once(url, server, kind, 2, words, tokens)
            measured[kind.name] = {
                count: at_once(url, server, kind, count, words, tokens) for count in clients
            }
    return measured


def prompt(words: list[str], number: int) -> str:
    """A client's own prompt, which begins unlike the others."""
    return " ".join(words[(number + k * (number + 3)) % len(words)] for k in range(16))


def at_once(
    url: str,
    server: psutil.Process,
    kind: Asked,
    count: int,
    words: list[str],
    tokens: int,
) -> Measured:
    start = Barrier(count)

    def client(number: int) -> tuple[int, float, float]:
        with httpx.Client(base_url=url, timeout=PATIENCE) as http:
            start.wait()
            return answered(http, kind, prompt(words, number), tokens)

    with ThreadPoolExecutor(count) as pool:
        began, used = time.perf_counter(), processor_seconds(server)
        replies = list(pool.map(client, range(count)))
        seconds = time.perf_counter() - began
    return Measured(
        sum(made for made, _, _ in replies) / seconds,
        processor_seconds(server) - used,
        [first for _, first, _ in replies],
        [last for _, _, last in replies],
    )


def processor_seconds(server: psutil.Process) -> float:
    times = server.cpu_times()
    return times.user + times.system


def answered(http: httpx.Client, kind: Asked, text: str, tokens: int) -> tuple[int, float, float]:
    """Tokens of a completion, and the seconds to its first and its last."""
    body = {
        "prompt": text,
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **dict(kind.extra),
    }
    began, first, made = time.perf_counter(), 0.0, 0
    with accepted(http, kind.path, body) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                first = first or time.perf_counter() - began
                made = (event.get("usage") or {}).get("completion_tokens", made)
    return made, first, time.perf_counter() - began


@contextmanager
def accepted(http: httpx.Client, path: str, body: dict) -> Iterator[httpx.Response]:
    """The response, asked for until the server takes the connection: mlx_lm.server lets five wait
    to be taken, and the system resets others."""
    with ExitStack() as stack:
        while True:
            try:
                response = stack.enter_context(http.stream("POST", path, json=body))
                break
            except httpx.NetworkError:
                time.sleep(0.05)
        response.raise_for_status()
        yield response


@contextmanager
def served(arguments: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Run a server on a free port, and yield its address and process; stop it on every way out."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, *arguments, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended with status {process.returncode}")
            try:
                httpx.get(f"{url}/v1/models", timeout=60).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
