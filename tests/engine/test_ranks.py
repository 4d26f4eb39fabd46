"""Models spread over ranks compute, capture and change the same as in one process."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.architectures import ARCHITECTURES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LAUNCH = [sys.executable, "-c", "from mlx._distributed_utils.launch import main; main()"]
"""``mlx.launch``, where only the library is installed."""
CLOSE = 1e-5
"""In parts of the largest number: ranks add up in another order."""
NO_GRADIENTS = {
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "glm4_moe_lite",
    "glm_moe_dsa",
    "kimi_k25",
    "kimi_k3",
    "minimax",
    "mistral4",
}
"""Whose layers of mlx-lm do not add up over ranks what flows back through them."""
SHARDED = [
    name
    for name in ARCHITECTURES
    if hasattr(importlib.import_module(f"mlx_lm.models.{name}").Model, "shard")
]


def launched(ranks: int, *arguments: str) -> list[dict]:
    """What the first rank prints, one dictionary a line."""
    command = [*LAUNCH, "-n", str(ranks), "--backend", "ring", sys.executable, *arguments]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{HERE}"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,  # kept open: the launcher reads one at its end over and over
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            lines = process.stdout.read().splitlines()
        finally:
            process.kill()
    said = [json.loads(line) for line in lines if line.startswith("{")]
    assert said, "\n".join(lines)
    return said


@pytest.fixture(scope="module")
def spread() -> dict[str, dict]:
    """What two ranks found, by architecture."""
    script = str(HERE / "ranks" / "spread_models.py")
    return {each.pop("architecture"): each for each in launched(2, script)}


@pytest.mark.parametrize("name", SHARDED)
def test_two_ranks_compute_and_capture_what_one_does(name: str, spread: dict[str, dict]) -> None:
    found = dict(spread[name])
    if name == "prism_hadamard_qwen35":
        assert "signs" in found["refused"], "mlx-lm's shard fails on it"
        return
    gradients = found.pop("gradients", 0.0)
    assert len(found) > 3
    assert {what: far for what, far in found.items() if not far <= CLOSE} == {}
    if name in NO_GRADIENTS:
        assert "do not add up over the ranks" in gradients
    else:
        assert gradients <= CLOSE


def test_three_ranks_share_the_heads_of_smollm2() -> None:
    (found,) = launched(3, str(HERE / "ranks" / "spread_smollm2.py"))
    assert found["heads"] == 9
    assert {what: far for what, far in found["differences"].items() if not far <= CLOSE} == {}
    assert "2 ranks cannot share 3 and 9 heads equally" in found["of two"]
