"""What MLX cannot compute on a device is an error that says so, and what helps."""

import mlx.nn as nn
import pytest
from tiny import PROMPT, tiny_kit

from engine.errors import UnsupportedOperationError
from engine.machine.gaps import gaps_explained
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.server.errors import error_detail

TOLD = (
    "[quantized_matmul] No implementation for problem shape: 1x16x32x4, transpose: true, "
    'activation: float32, bits: 8, group size: 32, mode: "affine".'
)


class Lacking(nn.Module):
    """A layer without a kernel: calls fail as they do on a GPU."""

    def __call__(self, x):
        raise RuntimeError(TOLD)


def test_a_product_that_mlx_lacks_is_named_with_what_helps():
    with pytest.raises(UnsupportedOperationError) as raised, gaps_explained():
        raise RuntimeError(TOLD)
    message = str(raised.value)
    assert "1x16x32x4" in message
    assert "dtype float32" in message
    assert "kv_bits" in message
    detail = error_detail(raised.value)
    assert (detail.code, detail.type, detail.message) == (422, "unsupported_operation", message)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="something else"), gaps_explained():
        raise RuntimeError("something else")


@pytest.mark.parametrize(
    "run",
    [
        lambda kit: forward(kit, [PROMPT]),
        lambda kit: list(create_generator_with_activations(kit, PROMPT, max_tokens=2)),
    ],
    ids=["forward", "generation"],
)
def test_every_run_says_so(run):
    kit = tiny_kit("llama")
    kit.model.layers[1].mlp.down_proj = Lacking()
    with pytest.raises(UnsupportedOperationError, match="no quantised product on this GPU"):
        run(kit)
