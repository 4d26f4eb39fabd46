"""On a GPU, Llama-3.2-1B's shape with random weights: patching, capturing, exactness, side by side.

    python -m benchmarks.gpu [--rounds 15] [--tiny]

The same weights on the same card in PyTorch with transformers and, where they are installed, in
TransformerLens and nnsight. Without a GPU it runs too, slowly: `--tiny` is for that.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from statistics import median

import engine  # noqa: F401

# isort: split
import click
import mlx.core as mx
import numpy as np
import torch
from mlx_lm.models.llama import Model, ModelArgs
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.pytorch import Heads, in_nnsight, in_transformer_lens, residuals, timed
from engine.analysis.circuits import Task, patch_effects
from engine.captures.hooks import ActivationHookSpec
from engine.captures.host_memory import on_host
from engine.machine.description import description
from engine.runs.forward import forward
from engine.runs.kit import ModelKit
from engine.structure.resolver import resolve

SHAPE = {
    "model_type": "llama",
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "rms_norm_eps": 1e-5,
    "vocab_size": 128256,
    "rope_theta": 500000.0,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
}
TINY = {"hidden_size": 256, "num_hidden_layers": 2, "intermediate_size": 512, "vocab_size": 1000}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2}
PROMPT, LENGTH = 15, 512
RESIDUALS = [ActivationHookSpec("*", "residual")]
LIBRARIES = {
    "TransformerLens, its own patching function": in_transformer_lens,
    "nnsight, one trace a head": in_nnsight,
}


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Rounds of what is measured in turn.")
@click.option("--tiny", is_flag=True, help="A small model, to try this without a GPU.")
@click.option("--difference", is_flag=True, hidden=True, help="Only how far residuals are off.")
def main(rounds: int, tiny: bool, difference: bool) -> None:
    """Print what each side takes, and how far the numbers differ."""
    config = SHAPE | (TINY if tiny else {})
    pytorch = random_model(config)
    kit = in_mlx(pytorch, config)
    tokens = random_tokens(LENGTH, config["vocab_size"])
    if difference:
        click.echo(json.dumps(largest_difference(kit, pytorch, tokens)))
        return
    console = Console(width=110, highlight=False)
    for name, value in {"PyTorch": torch.__version__, **description()}.items():
        console.print(f"{name}: {value}")
    exactness = {
        "here": f"{largest_difference(kit, pytorch, tokens):.0e}",
        "here, with TF32": f"{with_tf32(tiny):.0e}",
    }
    results: dict[str, Callable[[], dict[str, str]]] = {
        "A residual's largest difference to PyTorch's, relative, float32": lambda: exactness,
        "One decoding step's residuals to numpy, us": lambda: {"here": decoding(config, rounds)},
        "All heads patched, float32, s": lambda: patching(kit, pytorch),
        "Residuals of 512 tokens as numpy, ms beyond the pass": lambda: capturing(
            kit, pytorch, rounds
        ),
    }
    for title, measured in results.items():
        table = Table(title, "", box=None, min_width=100)
        for row, value in measured().items():
            table.add_row(row, value)
        console.print(table)


def random_model(config: dict) -> LlamaForCausalLM:
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return LlamaForCausalLM(LlamaConfig.from_dict(config)).eval()


def in_mlx(pytorch: LlamaForCausalLM, config: dict) -> ModelKit:
    model = Model(ModelArgs.from_dict(config))
    state = pytorch.state_dict()
    state.pop("lm_head.weight")
    model.load_weights([(name, mx.array(w.cpu().numpy())) for name, w in state.items()])
    mx.eval(model.parameters())
    return ModelKit(model, None, config, "random", None, resolve(model))


def random_tokens(length: int, vocabulary: int) -> list[int]:
    return np.random.default_rng(length).integers(vocabulary, size=length).tolist()


def patching(kit: ModelKit, pytorch: LlamaForCausalLM) -> dict[str, str]:
    """Seconds for every head, and how far the effects are from those of the loop in PyTorch."""
    clean = random_tokens(PROMPT, kit.info.vocab_size)
    corrupted = [*clean[:4], clean[5], *clean[5:]]
    task = Task(clean, corrupted, answer=7, distractor=11)
    heads = Heads(pytorch, task)
    layers, each = range(kit.info.layers), range(kit.info.heads)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "PyTorch + transformers, loop with hooks": lambda: heads.looped(layers, each),
        "PyTorch + transformers, a layer's heads a batch": lambda: heads.batched(layers, each),
        "here": lambda: patch_effects(kit, task).effects,
    }
    ways["PyTorch + transformers, a layer's heads a batch"]()
    expected = None
    rows = {}
    for name, way in ways.items():
        if name == "here":
            way()
        seconds, effects = timed(way)
        expected = effects if expected is None else expected
        rows[name] = f"{seconds:.2f}{off(effects, expected)}"
    for name, library in LIBRARIES.items():
        try:
            seconds, effects = timed(library(random_model(kit.config), task))
            rows[name] = f"{seconds:.2f}{off(effects, expected)}"
        except ImportError as missing:
            rows[name] = f"not measured: {missing.name} is not installed"
    return rows


def off(effects: np.ndarray, expected: np.ndarray) -> str:
    if effects is expected:
        return ""
    difference = np.abs(effects - expected).max() / np.abs(expected).max()
    return f"  (effects {difference:.0e} off the loop's)"


def capturing(kit: ModelKit, pytorch: LlamaForCausalLM, rounds: int) -> dict[str, str]:
    """Milliseconds beyond a plain pass, the median of paired rounds, in float32 and bfloat16."""
    tokens = random_tokens(LENGTH, kit.info.vocab_size)
    rows: dict[str, str] = {}
    for dtype, theirs in ((mx.float32, torch.float32), (mx.bfloat16, torch.bfloat16)):
        kit.model.set_dtype(dtype)
        mx.eval(kit.model.parameters())
        pytorch.to(theirs)
        name = str(theirs).removeprefix("torch.")

        @torch.no_grad()
        def plain_pytorch() -> None:
            pytorch(torch.tensor([tokens], device=pytorch.device)).logits[0, -1].float().cpu()

        kept: list = []
        rows |= {
            f"PyTorch + transformers with hooks, {name}": beyond(
                plain_pytorch, lambda: residuals(pytorch, tokens), rounds
            ),
            f"here, {name}": beyond(
                lambda: forward(kit, [tokens]), lambda: forward(kit, [tokens], RESIDUALS), rounds
            ),
            f"here, {name}, every capture kept": beyond(
                lambda: forward(kit, [tokens]),
                lambda kept=kept: kept.append(forward(kit, [tokens], RESIDUALS)),
                rounds,
            ),
        }
    kit.model.set_dtype(mx.float32)
    pytorch.to(torch.float32)
    return rows


def beyond(plain: Callable, more: Callable, rounds: int) -> str:
    """How much longer `more` takes than `plain`, by turns: the median, and what `plain` takes."""
    plain(), more(), more()
    times = [(timed(plain)[0], timed(more)[0]) for _ in range(rounds)]
    extra = median(1000 * (b - a) for a, b in times)
    return f"{extra:.1f}  (pass: {1000 * median(a for a, _ in times):.1f})"


def decoding(config: dict, rounds: int) -> str:
    """Microseconds that the residuals of one position take from the device to numpy."""
    times = []
    for _ in range(20 * rounds):
        shape = (config["num_hidden_layers"], 1, 1, config["hidden_size"])
        stack = mx.random.normal(shape)
        mx.eval(stack)
        mx.synchronize()
        seconds, _ = timed(lambda stack=stack: on_host(stack)[0].sum())
        times.append(1e6 * seconds)
    return f"{median(times):.0f}"


def largest_difference(kit: ModelKit, pytorch: LlamaForCausalLM, tokens: list[int]) -> float:
    """Of a number of any residual, relative to the largest number of that residual."""
    ours = forward(kit, [tokens], RESIDUALS).activations
    worst = 0.0
    for layer, theirs in enumerate(residuals(pytorch, tokens)):
        (record,) = ours[f"layer_{layer}_residual"]
        worst = max(worst, float(np.abs(record.data - theirs).max() / np.abs(theirs).max()))
    return worst


def with_tf32(tiny: bool) -> float:
    """The same difference in a process of its own, where MLX may round to TF32."""
    child = [sys.executable, "-m", "benchmarks.gpu", "--difference", *(["--tiny"] if tiny else [])]
    environment = os.environ | {"MLX_ENABLE_TF32": "1"}
    return json.loads(subprocess.check_output(child, env=environment).splitlines()[-1])


if __name__ == "__main__":
    main()
