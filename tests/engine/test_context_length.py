"""A learned table of positions is never read past its end; other models run on and warn."""

from dataclasses import replace

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx_lm.models import gpt2
from tiny import Numbers, tiny_kit

from engine.analysis.circuits import patch_effects
from engine.analysis.gradients import gradients
from engine.analysis.logit_lens import logit_lens
from engine.analysis.task import Task
from engine.components import ComponentType
from engine.errors import ContextLengthError
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit
from engine.structure.resolver import resolve
from engine.taps.points import Point

POSITIONS = 24
REFUSED = f"learned embeddings of {POSITIONS} positions"


class Offset(nn.Module):
    """A GPT-2 whose table has two rows before that of position 0, as OPT's."""

    def __init__(self):
        super().__init__()
        args = gpt2.ModelArgs(
            "gpt2",
            n_ctx=POSITIONS,
            n_embd=32,
            n_head=4,
            n_layer=2,
            n_positions=POSITIONS,
            layer_norm_epsilon=1e-5,
            vocab_size=96,
        )
        self.model = gpt2.Model(args)
        self.model.model.wpe = PaddedPositions(POSITIONS + 2, 32)

    @property
    def layers(self):
        return self.model.layers

    def __call__(self, inputs: mx.array, cache: list | None = None) -> mx.array:
        return self.model(inputs, cache=cache)


class PaddedPositions(nn.Module):
    def __init__(self, rows: int, width: int):
        super().__init__()
        self.table = nn.Embedding(rows, width)

    def __call__(self, positions: mx.array) -> mx.array:
        return self.table(positions + 2)


@pytest.fixture(scope="module", params=["gpt2", "gpt_bigcode", "offset", "quantised"])
def kit(request) -> ModelKit:
    if request.param == "offset":
        model = Offset()
        return ModelKit(model, Numbers(), {}, "offset", None, resolve(model))
    if request.param == "quantised":
        kit = tiny_kit("gpt2", n_positions=POSITIONS)
        nn.quantize(kit.model, group_size=32)
        return ModelKit(kit.model, Numbers(), {}, "quantised", None, resolve(kit.model))
    return tiny_kit(request.param, n_positions=POSITIONS)


def generated(kit, prompt, max_tokens, **options) -> list[int]:
    steps = create_generator_with_activations(kit, prompt, max_tokens=max_tokens, **options)
    return [result.token for result, _ in steps]


def test_the_context_length_is_that_of_the_table(kit):
    assert kit.info.context_length == POSITIONS
    assert kit.warnings == kit.warnings_of(POSITIONS + 1) == []


def test_a_pass_fills_the_table_and_no_more(kit):
    forward(kit, [[1] * POSITIONS])
    with pytest.raises(ContextLengthError, match=REFUSED):
        forward(kit, [[1] * (POSITIONS + 1)])


def test_a_generation_fills_the_table_and_no_more(kit):
    assert len(generated(kit, [1] * 14, POSITIONS - 14)) == POSITIONS - 14
    with pytest.raises(ContextLengthError, match=REFUSED):
        generated(kit, [1] * 14, POSITIONS - 13)


def test_what_a_cache_contains_counts(kit):
    cache = kit.make_cache()
    assert len(generated(kit, [1] * 10, 4, prompt_cache=cache)) == 4
    with pytest.raises(ContextLengthError, match=REFUSED):
        generated(kit, [1] * 4, POSITIONS - 16, prompt_cache=cache)


def test_a_draft_model_s_table_counts(kit):
    asked = tiny_kit("gpt2", n_positions=512)
    assert len(generated(asked, [1] * 10, POSITIONS - 10, draft_model=kit.model)) == POSITIONS - 10
    with pytest.raises(ContextLengthError, match=REFUSED):
        generated(asked, [1] * 10, POSITIONS - 9, draft_model=kit.model)


def test_no_analysis_reads_beyond_it(kit):
    clean, corrupted = [1] * (POSITIONS + 1), [2] * (POSITIONS + 1)
    with pytest.raises(ContextLengthError, match=REFUSED):
        list(logit_lens(kit, clean))
    with pytest.raises(ContextLengthError, match=REFUSED):
        patch_effects(kit, Task(clean, corrupted, 3, 4))
    with pytest.raises(ContextLengthError, match=REFUSED):
        gradients(
            kit,
            mx.array([clean]),
            [Point(0, ComponentType.RESIDUAL)],
            lambda logits: logits[0, -1, 0],
        )


@pytest.mark.parametrize("name", ["llama", "mamba", "gemma2"])
def test_a_model_without_a_table_runs_on_with_a_warning(name):
    kit = tiny_kit(name)
    assert kit.structure.learned_positions is None
    assert kit.warnings == []
    kit.info = replace(kit.info, context_length=POSITIONS)
    (warning,) = kit.warnings
    assert f"made for {POSITIONS} positions" in warning
    forward(kit, [[1] * (POSITIONS + 1)])
    assert len(generated(kit, [1] * POSITIONS, 3)) == 3
    assert kit.warnings_of(POSITIONS) == []
    assert kit.warnings_of(POSITIONS + 3)[0].startswith(f"{POSITIONS + 3} positions were run")
