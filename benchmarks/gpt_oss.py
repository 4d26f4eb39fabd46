# ruff: noqa: I001
"""gpt-oss-20b's exact shape with random weights: what captures are, and what they cost.

    python -m benchmarks.gpt_oss [--tiny] [--folder NEW] [--tokens 64] [--rounds 100]

Builds the model layer by layer in 4 bits, group 32 (13 GB; --tiny: a few MB, for a dry run on a
CPU), with --folder saves it there and loads it as any other, captures every component of every
layer and checks each shape, and that layers captured together are bit for bit what each is alone.
Then prints tokens a second, in turn in one run: mlx-lm's own generation, ours without hooks, ours
with the residual stream of all layers delivered as numpy, and mlx-lm's with the same stacked by
hand. Ratios are medians over rounds, with an interval at about 95 %.
"""

import argparse
from collections.abc import Iterator
from math import floor
from pathlib import Path
from statistics import median
from time import perf_counter

import engine  # noqa: F401 -- before mlx.core, to put its BLAS in place
import mlx.core as mx
import numpy as np
from mlx_lm.generate import generate_step
from mlx_lm.tokenizer_utils import TokenizerWrapper
from rich.console import Console
from rich.progress import track

from benchmarks.reference_capture import stacked_by_hand
from benchmarks.gpt_oss_model import FULL, TINY, random_model, save, weight_bytes
from engine.captures.records import CapturedActivation
from engine.components import WHOLE_MODEL
from engine.components import ComponentType as C
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.captures.hooks import ActivationHookSpec
from engine.runs.kit import ModelKit, load_model
from engine.structure.resolver import resolve
from benchmarks.words import words

PROMPT = 160
"""Tokens of the prompt that captures are checked on: more than the sliding window."""


def main() -> None:
    """Build, capture, check, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="a small model of the same kind")
    parser.add_argument("--folder", type=Path, help="save the model there, and load it from there")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each generation")
    parser.add_argument("--rounds", type=int, default=100, help="generations of each kind")
    options = parser.parse_args()
    config = TINY if options.tiny else FULL

    begin = perf_counter()
    model, words_of_it = random_model(config), words(config["vocab_size"], eos_token=None)
    if options.folder is None:
        tokenizer = TokenizerWrapper(words_of_it)
        kit = ModelKit(model, tokenizer, config, "gpt-oss", None, resolve(model))
    else:
        save(model, config, words_of_it, options.folder)
        del model
        kit = load_model(options.folder)
    print(f"device      {mx.default_device()}")
    built = perf_counter() - begin
    print(f"weights     {weight_bytes(kit.model) / 1e9:.3g} GB, built in {built:.0f} s")
    print(f"components  {', '.join(kit.info.components)}")

    prompt = [token % config["vocab_size"] for token in range(11, 11 + PROMPT)]
    begin = perf_counter()
    checked = check_prompt(kit, prompt) + check_generation(kit, prompt)
    check_joining(kit, prompt)
    print(
        f"captures    {checked} records, every shape as expected, in {perf_counter() - begin:.0f} s"
    )

    for line in speeds(kit, prompt[:16], options.tokens, options.rounds):
        print(line)
    print(f"memory      {mx.get_peak_memory() / 1e9:.2f} GB at most")


# --- what is captured --------------------------------------------------------------------


def everything(kit: ModelKit) -> list[ActivationHookSpec]:
    missing = set(C) - set(kit.info.components)
    assert not missing, f"not captured: {missing}"
    return [ActivationHookSpec("*", component) for component in C]


def check_prompt(kit: ModelKit, prompt: list[int]) -> int:
    """Capture one forward pass; the number of records, of which each shape was right."""
    records = [
        r for kept in forward(kit, [prompt], everything(kit)).activations.values() for r in kept
    ]
    assert len(records) == expected_records(kit), len(records)
    for record in records:
        check_shape(kit, record, len(prompt), len(prompt))
    return len(records)


def check_generation(kit: ModelKit, prompt: list[int]) -> int:
    """Capture a generation past the sliding window; the number of records."""
    count = 0
    steps = create_generator_with_activations(kit, prompt, everything(kit), max_tokens=3)
    for step, (_, activations) in enumerate(steps):
        records = [record for kept in activations.values() for record in kept]
        assert len(records) == expected_records(kit), len(records)
        seen = len(prompt) + step
        for record in records:
            check_shape(kit, record, 1 if step else seen, seen)
            check_window(kit, record, seen)
        count += len(records)
    return count


def check_joining(kit: ModelKit, prompt: list[int]) -> None:
    """Compare each layer of a pass with one position of it, which is cut out by itself."""
    layers = range(kit.info.layers)
    alone = [
        ActivationHookSpec(str(n), C.RESIDUAL, positions=(n,), hook_id=f"{n} alone") for n in layers
    ]
    hooks = [ActivationHookSpec("*", C.RESIDUAL), *alone]
    activations = forward(kit, [prompt], hooks).activations
    for layer, spec in enumerate(alone):
        (whole,), (part,) = activations[f"layer_{layer}_residual"], activations[spec.hook_id]
        np.testing.assert_array_equal(whole.data[:, [layer]], part.data)


def expected_records(kit: ModelKit) -> int:
    return len(WHOLE_MODEL) + (len(C) - len(WHOLE_MODEL)) * kit.info.layers


def check_shape(kit: ModelKit, record: CapturedActivation, length: int, keys: int) -> None:
    config = kit.config
    hidden, width = config["hidden_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    chosen = config["num_experts_per_tok"]
    expected = {
        C.QUERY_PRE_ROPE: (1, heads, length, width),
        C.KEY_PRE_ROPE: (1, kv_heads, length, width),
        C.QUERY: (1, heads, length, width),
        C.KEY: (1, kv_heads, length, width),
        C.VALUE: (1, kv_heads, length, width),
        C.ATTENTION_SCORES: (1, heads, length, keys),
        C.ATTENTION_PATTERN: (1, heads, length, keys),
        C.HEAD_OUTPUT: (1, heads, length, width),
        C.ROUTER: (1, length, config["num_local_experts"]),
        C.ROUTER_CHOICE: (1, length, chosen),
        C.EXPERT_OUTPUT: (1, length, chosen, hidden),
        C.LOGITS: (1, length, config["vocab_size"]),
    }.get(record.component, (1, length, hidden))
    assert record.shape == expected, (
        f"{record.hook_id}, step {record.step}: {record.shape}, not {expected}"
    )


def check_window(kit: ModelKit, record: CapturedActivation, seen: int) -> None:
    """No key outside the sliding window gets weight from the newest query."""
    slides = record.layer is not None and kit.config["layer_types"][record.layer].startswith("slid")
    if record.component is C.ATTENTION_PATTERN and slides:
        outside = record.data[..., -1, : seen - kit.config["sliding_window"]]
        assert not outside.any(), f"{record.hook_id}, step {record.step}, attends beyond the window"


# --- what it costs -----------------------------------------------------------------------


def speeds(kit: ModelKit, prompt: list[int], tokens: int, rounds: int) -> Iterator[str]:
    """Tokens a second of each kind of generation, run in turn, and as a part of others'."""
    residual = [ActivationHookSpec("*", C.RESIDUAL)]
    kinds = {
        "mlx-lm's own generation": lambda: plain(kit, prompt, tokens),
        "ours, no hooks": lambda: create_generator_with_activations(kit, prompt, max_tokens=tokens),
        "ours, residual of all layers as numpy": lambda: delivered(
            kit, create_generator_with_activations(kit, prompt, residual, max_tokens=tokens)
        ),
        "mlx-lm's, the same stacked by hand": lambda: stacked_by_hand(kit.model, prompt, tokens),
    }
    measured: dict[str, list[float]] = {kind: [] for kind in kinds}
    progress = Console(stderr=True)
    for turn in track(range(rounds + 1), "tokens a second", console=progress, transient=True):
        first = turn % len(kinds)
        for kind in [*list(kinds)[first:], *list(kinds)[:first]]:
            value = speed(kinds[kind](), tokens)
            if turn:  # the first warms up
                measured[kind].append(value)
    own, without, *_ = measured.values()
    for kind, values in measured.items():
        yield (
            f"{kind:38} {median(values):7.1f} tokens/s"
            f"  {ratio(values, own)} of mlx-lm's  {ratio(values, without)} of ours"
        )


def ratio(speeds: list[float], others: list[float]) -> str:
    """The median over rounds, so that a machine that slows down meanwhile counts for both.

    The interval is that of order statistics: the median of many rounds lies between the ranks
    n/2 -+ 0.98 sqrt(n) of these n with a probability of about 95 %.
    """
    ratios = sorted(speed / other for speed, other in zip(speeds, others, strict=True))
    outside = max(0, floor(len(ratios) / 2 - 0.98 * len(ratios) ** 0.5))
    return f"{median(ratios):.3f} ({ratios[outside]:.3f} to {ratios[-1 - outside]:.3f})"


def plain(kit: ModelKit, prompt: list[int], tokens: int) -> Iterator:
    return generate_step(mx.array(prompt), kit.model, max_tokens=tokens)


def delivered(kit: ModelKit, generation: Iterator) -> Iterator:
    """The generation's tokens, each after its residual stream lies in memory as numpy."""
    for step in generation:
        yield step
    arrays = [record.data for (record,) in step[1].values()]
    assert [type(array) for array in arrays] == [np.ndarray] * kit.info.layers


def speed(generation: Iterator, tokens: int) -> float:
    """Tokens a second after the first, so that the prompt does not count."""
    next(generation)
    begin = perf_counter()
    count = sum(1 for _ in generation)
    assert count >= tokens - 1, f"{count + 1} tokens in place of {tokens}"
    return count / (perf_counter() - begin)


if __name__ == "__main__":
    main()
