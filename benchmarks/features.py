"""How long it takes to encode and to decode sparse features, beside SAELens in one process.

    pip install 'neuroscope-bridge[sae-lens]'
    python -m benchmarks.features

Random autoencoders over SmolLM2's width with 16 k features, each saved by SAELens and loaded from
that folder here, over 256 positions; each time is the median of several, taken in turn.
"""

import engine  # noqa: F401

# isort: split
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
import mlx.core as mx
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sae_lens.registry import get_sae_class
from sae_lens.saes.sae import SAE, SAEMetadata

from benchmarks.pytorch import timed
from engine.features.feature_set import FeatureSet
from engine.features.formats import sae_lens

WIDTH, FEATURES, POSITIONS, TIMES = 576, 16384, 256, 7
ARCHITECTURES = {"standard": {}, "jumprelu": {}, "gated": {}, "topk": {"k": 32}}


@click.command()
def main() -> None:
    """Print the times in milliseconds, how far features that are active on both sides differ, and
    how many are on one side alone: those that rounding moves over a threshold."""
    table = Table(
        "architecture",
        "encode here",
        "SAELens",
        "decode here",
        "SAELens",
        "difference",
        "flipped",
        box=None,
    )
    for name, options in ARCHITECTURES.items():
        table.add_row(name, *_row(*_both(name, options)))
    Console(width=100).print(
        f"{POSITIONS} positions, {WIDTH} wide, {FEATURES} features; milliseconds", table
    )


def _both(name: str, options: dict) -> tuple[FeatureSet, SAE]:
    torch.manual_seed(0)
    kind, configuration = get_sae_class(name)
    metadata = SAEMetadata(hook_name="blocks.12.hook_resid_post")
    theirs = kind(configuration(d_in=WIDTH, d_sae=FEATURES, metadata=metadata, **options))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.05)
    with TemporaryDirectory() as folder:
        theirs.save_model(folder)
        (ours,) = sae_lens.load(Path(folder))
    return ours, theirs


@torch.no_grad()
def _row(ours: FeatureSet, theirs: SAE) -> list[str]:
    values = torch.randn(POSITIONS, WIDTH)
    x = mx.array(values.numpy())
    features, expected = ours.encode(x), theirs.encode(values)
    seconds: dict[str, list[float]] = {"encode": [], "their encode": [], "decode": [], "theirs": []}
    for _ in range(TIMES):
        seconds["encode"].append(timed(lambda: mx.eval(ours.encode(x)))[0])
        seconds["their encode"].append(timed(lambda: theirs.encode(values))[0])
        seconds["decode"].append(timed(lambda: mx.eval(ours.decode(features, x)))[0])
        seconds["theirs"].append(timed(lambda: theirs.decode(expected))[0])
    found, wanted = np.array(features), expected.numpy()
    both = (found != 0) & (wanted != 0)
    flipped = np.count_nonzero((found != 0) != (wanted != 0))
    times = [f"{1000 * median(each):.1f}" for each in seconds.values()]
    return [*times, f"{np.abs(found - wanted)[both].max():.0e}", str(flipped)]


if __name__ == "__main__":
    main()
