"""How much faster MLX is on a Linux CPU with the BLAS that the engine puts in place of its wheel's.

    python benchmarks/forward.py [--rounds 3]

The default model in float32, measured in processes of their own, in turn: with the reference BLAS
that MLX's wheel brings, and with the engine's choice, as `neuroscope-bridge doctor` names it.
"""

import json
import logging
import subprocess
import sys
from statistics import median
from time import perf_counter

import click
from rich.console import Console
from rich.table import Table

PROMPT = "When Mary and John went to the store, John gave a drink to"
PREFILL, GENERATED = 64, 16
ROWS = {
    "forward": "14-token forward pass, ms",
    "prefill": f"{PREFILL}-token prompt, ms a token",
    "decode": "generation, ms a token",
}


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Processes with each BLAS.")
@click.option("--measure", type=click.Choice(["reference", "engine"]), hidden=True)
def main(rounds: int, measure: str | None) -> None:
    """Print the times with either BLAS, and their ratio."""
    if measure:
        click.echo(json.dumps(timed(measure)))
        return
    times: dict[str, list[dict[str, float]]] = {"reference": [], "engine": []}
    for _ in range(rounds):
        for blas, results in times.items():
            child = [sys.executable, __file__, "--measure", blas]
            results.append(json.loads(subprocess.check_output(child)))
    table = Table("SmolLM2-135M, float32", "reference BLAS", "here", "times faster", box=None)
    for row, title in ROWS.items():
        reference, ours = ([result[row] for result in results] for results in times.values())
        table.add_row(title, spread(reference), spread(ours), f"{min(reference) / min(ours):.1f}")
    Console(width=100).print(table, f"least (median) of {rounds} processes each", sep="\n")


def timed(blas: str) -> dict[str, float]:
    """Milliseconds for each row in this process; imported first, MLX keeps its own BLAS."""
    if blas == "reference":
        logging.disable()
        import mlx.core as mx
    import engine  # noqa: F401, I001
    from engine.models.loading import load
    import mlx.core as mx
    from mlx_lm.models.cache import make_prompt_cache

    model, tokenizer, *_ = load("smollm2", dtype="float32")
    tokens = tokenizer.encode(PROMPT)
    cache = make_prompt_cache(model)

    def milliseconds(tokens: list[int], cache: list | None = None) -> float:
        start = perf_counter()
        mx.eval(model(mx.array([tokens]), cache=cache))
        return 1000 * (perf_counter() - start)

    milliseconds(tokens)
    return {
        "forward": min(milliseconds(tokens) for _ in range(3)),
        "prefill": milliseconds((tokens * PREFILL)[:PREFILL], cache) / PREFILL,
        "decode": min(milliseconds(tokens[:1], cache) for _ in range(GENERATED)),
    }


def spread(times: list[float]) -> str:
    return f"{min(times):.1f} ({median(times):.1f})"


if __name__ == "__main__":
    main()
