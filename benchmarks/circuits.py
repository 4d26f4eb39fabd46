"""How long it takes to patch every head of a model, beside a PyTorch loop with hooks.

    python -m benchmarks.circuits

The default model in float32, the same weights on both sides, 30 x 9 heads, in one process in turn.
"""

import engine  # noqa: F401

# isort: split
import click
import mlx.core as mx
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.pytorch import Heads, in_pytorch, timed
from engine.analysis.circuits import Task, patch_effects
from engine.runs.kit import load_model, single_token, tokenize

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"


@click.command()
def main() -> None:
    """Print the times, their ratio, and how far the effects differ."""
    kit = load_model("smollm2", dtype="float32")
    answer, distractor = (single_token(kit, name) for name in (" Mary", " John"))
    task = Task(tokenize(kit, CLEAN), tokenize(kit, CORRUPTED), answer, distractor)
    pytorch = Heads(in_pytorch(kit), task)
    tokens = mx.array([task.clean])
    mx.eval(kit.model(tokens))
    use_best_threads(pytorch)

    once, _ = timed(lambda: mx.eval(kit.model(tokens)))
    ours, effects = timed(lambda: patch_effects(kit, task).effects)
    estimating, _ = timed(lambda: patch_effects(kit, task, method="attribution_patching"))
    theirs, expected = timed(lambda: pytorch.looped(range(30), range(9)))

    table = Table("SmolLM2-135M, float32, 270 heads", "seconds", box=None)
    table.add_row("activation patching, here", f"{ours:.1f}")
    table.add_row("activation patching, PyTorch loop with hooks", f"{theirs:.1f}")
    table.add_row("one forward pass, here", f"{once:.2f}")
    table.add_row("attribution patching, here", f"{estimating:.2f}")
    Console(width=100).print(
        table,
        f"here / PyTorch: {ours / theirs:.2f}",
        f"attribution patching: {estimating / once:.1f} forward passes",
        f"largest difference of an effect: {np.abs(effects - expected).max():.0e}",
        sep="\n",
    )


def use_best_threads(pytorch: Heads) -> None:
    """Give PyTorch as many threads as serve it best now: on a busy machine, one."""
    times = {}
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        pytorch.looped(range(1), range(1))
        times[threads], _ = timed(lambda: pytorch.looped(range(1), range(3)))
    torch.set_num_threads(min(times, key=times.get))


if __name__ == "__main__":
    main()
