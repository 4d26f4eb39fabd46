"""The whole way on a real model: its activations, asked for and read in a Smalltalk image.

Pulls the default model, serves it, renders the Smalltalk client, files it into Amber, lets
`demo.st` ask for a completion with activations, and compares what Smalltalk saw with Python.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine
from bridge.neuroscope import NeuroScopeActivationBridge

HERE = Path(__file__).parent
MODULES = HERE.parent / "systems"
"""Where Amber is installed."""
PACKAGES = ("NeuroScope-Connection", "NeuroScope-Bridge")
PROMPT = "When Mary and John went to the store, John gave a drink to"
LAYERS = (0, 15, 29)
TOLERANCE = 1e-6


def main() -> None:
    console = Console(highlight=False)
    bridge("models", "pull", "smollm2")
    with tempfile.TemporaryDirectory() as folder:
        bridge("generate", "--dialect", "amber", "--output", folder)
        with running_engine("smollm2") as client:
            continuation, seen_in_smalltalk = ask_from_smalltalk(Path(folder), client.base_url)
            seen_in_python = ask_from_python(client)
    table = Table("hook", "pass", "shape", "mean in Smalltalk", "mean in Python", box=SIMPLE_HEAD)
    for (hook, step, shape, mean), expected in zip(seen_in_smalltalk, seen_in_python, strict=True):
        if abs(mean - expected) > TOLERANCE:
            raise SystemExit(f"{hook}, pass {step}: Smalltalk says {mean}, Python {expected}")
        table.add_row(hook, str(step), shape, f"{mean:.9f}", f"{expected:.9f}")
    console.print(table)
    console.print(f"{PROMPT}[bold]{continuation}[/bold]")
    console.print(f"All {len(seen_in_python)} means agree to {TOLERANCE}.")


def bridge(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "bridge", *arguments], check=True)


def ask_from_smalltalk(folder: Path, url: str) -> tuple[str, list[tuple[str, int, str, float]]]:
    """Run demo.st under Amber: the continuation, and each tensor's hook, pass, shape, mean."""
    files = [str(folder / "amber" / f"{package}.st") for package in PACKAGES]
    script = (HERE / "demo.st").read_text(encoding="utf-8")
    expression = f"({script}) value: (LMStudioRESTClient baseUrl: '{url}')"
    run = subprocess.run(
        ["node", str(folder / "amber" / "amber.js"), *files, expression],
        env=os.environ | {"AMBER": str(MODULES)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    first, *lines = run.stdout.splitlines()
    rows = [line.split("|") for line in lines]
    steps = len(rows) // len(LAYERS)
    return first.partition("|")[2], [
        (hook, index % steps, shape, float(mean)) for index, (hook, shape, mean) in enumerate(rows)
    ]


def ask_from_python(client: LMStudioNeuroScopeClient) -> list[float]:
    """The same tensors' means, in the same order, in double precision."""
    hooks = [{"layer_name": str(layer), "component": "residual"} for layer in LAYERS]
    result = client.generate_with_activations(PROMPT, hooks, max_tokens=8, temperature=0)
    records = NeuroScopeActivationBridge.convert_activations_for_neuroscope(result["activations"])
    return [
        float(np.mean(record["data"], dtype=np.float64))
        for hook_records in records.values()
        for record in hook_records
    ]


if __name__ == "__main__":
    main()
