"""How long it takes to patch every head of a model, beside a PyTorch loop with hooks.

    python benchmarks/circuits.py

The default model in float32, the same weights on both sides, 30 x 9 heads, in one process in turn.
"""

from collections.abc import Callable
from time import perf_counter

import engine  # noqa: F401

# isort: split
import click
import mlx.core as mx
import numpy as np
import torch
from mlx.utils import tree_flatten
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from engine.analysis.circuits import Task, patch_effects
from engine.runs.kit import ModelKit, load_model, tokenize

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"


@click.command()
def main() -> None:
    """Print the times, their ratio, and how far the effects differ."""
    kit = load_model("smollm2", dtype="float32")
    answer, distractor = (tokenize(kit, name)[0] for name in (" Mary", " John"))
    task = Task(tokenize(kit, CLEAN), tokenize(kit, CORRUPTED), answer, distractor)
    model = in_pytorch(kit)
    tokens = mx.array([task.clean])
    mx.eval(kit.model(tokens))
    use_best_threads(model, task)

    once, _ = timed(lambda: mx.eval(kit.model(tokens)))
    ours, effects = timed(lambda: patch_effects(kit, task).effects)
    estimating, _ = timed(lambda: patch_effects(kit, task, method="attribution_patching"))
    theirs, expected = timed(lambda: hooked(model, task, range(30), range(9)))

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


def timed(work: Callable) -> tuple[float, object]:
    start = perf_counter()
    result = work()
    return perf_counter() - start, result


def in_pytorch(kit: ModelKit) -> LlamaForCausalLM:
    """The same model, with the same weights, in transformers."""
    model = LlamaForCausalLM(LlamaConfig.from_dict(kit.config))
    weights = tree_flatten(kit.model.parameters())
    state = {name: torch.from_numpy(np.array(weight)) for name, weight in weights}
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    return model.eval()


def use_best_threads(model: LlamaForCausalLM, task: Task) -> None:
    """Give PyTorch as many threads as serve it best now: on a busy machine, one."""
    times = {}
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        hooked(model, task, range(1), range(1))
        times[threads], _ = timed(lambda: hooked(model, task, range(1), range(3)))
    torch.set_num_threads(min(times, key=times.get))


def hooked(model: LlamaForCausalLM, task: Task, layers: range, heads: range) -> np.ndarray:
    """The effects of heads, one pass each, the way they are usually measured."""
    width = model.config.hidden_size // model.config.num_attention_heads
    projections = [block.self_attn.o_proj for block in model.model.layers]

    def score(tokens: list[int], projection=None, hook=None) -> float:
        handle = projection and projection.register_forward_pre_hook(hook)
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0, -1]
        if handle:
            handle.remove()
        return (logits[task.answer] - logits[task.distractor]).item()

    clean, corrupted = score(task.clean), score(task.corrupted)
    effects = np.zeros((len(layers), len(heads)))
    for layer in layers:
        kept = []
        score(task.clean, projections[layer], lambda _, args, kept=kept: kept.extend(args))
        for head in heads:
            columns = slice(head * width, (head + 1) * width)

            def patch(_, args, columns=columns, kept=kept):
                patched = args[0].clone()
                patched[..., columns] = kept[0][..., columns]
                return (patched,)

            patched = score(task.corrupted, projections[layer], patch)
            effects[layer, head] = (patched - corrupted) / (clean - corrupted)
    return effects


if __name__ == "__main__":
    main()
