"""How fast 64 MB of activations take each wire form, beside copying the bytes, in one process.

Every form goes piece by piece into one buffer, as it would into a socket's.

    python benchmarks/wire.py [--rounds 5]

Megabytes (10^6 bytes) of activations a second; the least time of all rounds counts.
"""

from collections.abc import Callable, Iterator
from time import perf_counter

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from engine.captures.records import Activations, CapturedActivation
from engine.components import ComponentType
from engine.server.wire import records as wire_records
from engine.server.wire import safetensors_body
from engine.server.wire.json_text import json_pieces

LAYERS, POSITIONS, HIDDEN = 16, 1000, 1000
BUFFER = 256_000_000
MEGABYTES = LAYERS * POSITIONS * HIDDEN * 4 / 1e6

Pieces = Iterator[bytes | memoryview]


@click.command()
@click.option("--rounds", default=5, show_default=True)
def main(rounds: int) -> None:
    """Print the speeds."""
    activations = captured()
    buffer = memoryview(bytearray(BUFFER))
    forms: dict[str, tuple[Callable[[Activations], Pieces], str]] = {
        "copy of the bytes": (raw, "the floor"),
        "safetensors body": (safetensors, "half the floor"),
        "base64 in JSON": (lambda a: json(a, "base64"), "300 MB/s"),
        "lists in JSON": (lambda a: json(a, "array"), "40 MB/s"),
    }
    speeds = {
        name: MEGABYTES / least_time(lambda form=form: fill(buffer, form(activations)), rounds)
        for name, (form, _) in forms.items()
    }
    table = Table(f"{MEGABYTES:.0f} MB, float32", "MB/s", "of the floor", "to reach", box=None)
    floor = speeds["copy of the bytes"]
    for name, speed in speeds.items():
        table.add_row(name, f"{speed:.0f}", f"{speed / floor:.2f}", forms[name][1])
    Console(width=100).print(table)


def captured() -> Activations:
    """The residual stream of 16 layers at 1,000 positions."""
    rng = np.random.default_rng(0)
    records = [
        CapturedActivation(
            hook_id=f"layer_{layer}_residual",
            layer_name=str(layer),
            layer=layer,
            component=ComponentType.RESIDUAL,
            step=0,
            positions=(0, POSITIONS - 1),
            is_input=False,
            dtype="float32",
            data=rng.standard_normal((1, POSITIONS, HIDDEN), np.float32),
        )
        for layer in range(LAYERS)
    ]
    return {record.hook_id: [record] for record in records}


def raw(activations: Activations) -> Pieces:
    for records in activations.values():
        for record in records:
            yield memoryview(record.data).cast("B")


def safetensors(activations: Activations) -> Pieces:
    records = (record for records in activations.values() for record in records)
    return safetensors_body.body(safetensors_body.tensors(records), {})[1]


def json(activations: Activations, form: str) -> Pieces:
    return json_pieces({"activations": wire_records.activations_json(activations, form)})[1]


def fill(buffer: memoryview, pieces: Pieces) -> None:
    end = 0
    for piece in pieces:
        start, end = end, end + len(piece)
        buffer[start:end] = piece


def least_time(form: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = perf_counter()
        form()
        times.append(perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
