"""What a run takes is known before it begins; what cannot fit is refused with the figures."""

import gc
import re

import mlx.core as mx
import numpy as np
import pytest
from tiny import tiny_kit

from engine.analysis.circuits import patch_effects
from engine.analysis.gradients import gradients
from engine.analysis.logit_lens import logit_lens
from engine.analysis.task import Task
from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType
from engine.errors import NotEnoughMemoryError
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.scoring import score
from engine.taps.points import Point

MEGABYTE = 1_000_000
LENGTH = 600
TOKENS = [(37 * place + 11) % 90 + 3 for place in range(LENGTH)]
SIZES = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "num_hidden_layers": 2,
    "vocab_size": 2000,
}
GPT2 = {"n_positions": 2048, "n_embd": 256, "n_head": 8, "vocab_size": 2000}


@pytest.fixture(scope="module", params=["llama", "gpt2", "mixtral", "mamba2", "gemma2"])
def kit(request):
    kit = tiny_kit(request.param, **(GPT2 if request.param == "gpt2" else SIZES))
    mx.eval(kit.model.parameters())
    return kit


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2"])
def attending(request):
    return tiny_kit(request.param, **(GPT2 if request.param == "gpt2" else SIZES))


@pytest.fixture
def leave():
    """Leaves so many bytes to MLX, until the test is over."""
    before = mx.set_memory_limit(1 << 40)
    gc.collect()
    mx.clear_cache()
    yield lambda nbytes: mx.set_memory_limit(mx.get_active_memory() + nbytes)
    mx.set_memory_limit(before)


def peak(run) -> int:
    """The bytes that MLX takes at most for a run, beyond what it has before."""
    gc.collect()
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    run()
    return mx.get_peak_memory() - before


def figures(error) -> tuple[float, float]:
    """The bytes needed and available, of a message."""
    found = re.search(r"about ([\d.]+) (MB|GB) \(.*\), and ([\d.]+) (MB|GB) of memory", str(error))
    needed, unit, available, other = found.groups()
    factors = {"MB": 1e6, "GB": 1e9}
    return float(needed) * factors[unit], float(available) * factors[other]


def test_a_pass_takes_no_more_than_its_estimate_and_a_good_part_of_it(kit):
    taken = peak(lambda: mx.eval(kit.structure.logits(mx.array([TOKENS]))[:, -1:]))
    estimate = kit.footprint.of_pass(1, LENGTH, LENGTH, logits=LENGTH).nbytes
    assert taken <= estimate <= 8 * taken


def test_captures_are_part_of_the_estimate(attending):
    specs = [ActivationHookSpec("*", ComponentType.ATTENTION_PATTERN)]
    hooks = attending.hooks.hooks_for(specs)
    records = [r for each in forward(attending, [TOKENS], specs).activations.values() for r in each]
    estimate = attending.footprint.of_captures(hooks, 1, LENGTH)
    assert estimate == 2 * sum(record.nbytes for record in records)
    assert estimate == 2 * 2 * 4 * len(records) * LENGTH**2 * records[0].shape[1] // 2


def test_less_memory_means_shorter_passes_and_the_same_numbers(attending, leave):
    whole = forward(attending, [TOKENS], logits="all").logits
    estimate = attending.footprint.of_pass(1, LENGTH, LENGTH, logits=LENGTH).nbytes
    leave(estimate // 2)
    taken = peak(lambda: forward(attending, [TOKENS]))
    assert taken < estimate // 2
    cut = forward(attending, [TOKENS], logits="all").logits
    np.testing.assert_allclose(cut, whole, rtol=0, atol=1e-3)


def test_a_pass_that_cannot_fit_is_refused_before_it_runs(kit, leave):
    leave(MEGABYTE)
    for run in (
        lambda: forward(kit, [TOKENS]),
        lambda: next(create_generator_with_activations(kit, TOKENS)),
        lambda: score(kit, TOKENS),
    ):
        with pytest.raises(NotEnoughMemoryError, match="shorten the prompt") as error:
            run()
        needed, available = figures(error.value)
        assert available == pytest.approx(MEGABYTE, rel=0.2)
        assert needed > available


def test_what_is_captured_can_be_what_does_not_fit(attending, leave):
    leave(40 * MEGABYTE)
    forward(attending, [TOKENS])
    pattern = ActivationHookSpec("*", ComponentType.ATTENTION_PATTERN)
    with pytest.raises(NotEnoughMemoryError, match="what is kept") as error:
        forward(attending, [TOKENS], [pattern])
    assert figures(error.value)[0] > 2 * 8 * 4 * LENGTH**2 * 2
    with pytest.raises(NotEnoughMemoryError, match="what is kept"):
        next(create_generator_with_activations(attending, TOKENS, [pattern]))
    few = ActivationHookSpec("*", ComponentType.ATTENTION_PATTERN, heads=(0,), positions=(-1,))
    assert forward(attending, [TOKENS], [few]).activations


def test_what_needs_the_sequence_whole_is_not_cut(attending, leave):
    estimate = attending.footprint.of_pass(1, LENGTH, LENGTH, logits=LENGTH).nbytes
    leave(estimate // 2)
    forward(attending, [TOKENS])
    mean = Intervention("0", "residual", "mean")
    with pytest.raises(NotEnoughMemoryError, match="cannot be cut"):
        forward(attending, [TOKENS], interventions=[mean])


def test_analyses_are_refused_too(attending, leave):
    task = Task(TOKENS, [*TOKENS[:-1], 5], 3, 4)
    leave(2 * MEGABYTE)
    with pytest.raises(NotEnoughMemoryError):
        list(logit_lens(attending, TOKENS))
    with pytest.raises(NotEnoughMemoryError):
        patch_effects(attending, task)
    points = [Point(0, ComponentType.RESIDUAL)]
    with pytest.raises(NotEnoughMemoryError, match="gradients need the whole"):
        gradients(attending, mx.array([TOKENS]), points, lambda logits: logits[0, -1, 0])


def test_a_sweep_runs_fewer_rows_at_once_where_memory_is_short(attending, leave):
    task = Task(TOKENS[:100], [*TOKENS[:99], 5], 3, 4)
    found = []

    def sweep():
        found.append(patch_effects(attending, task, layers=[0]).effects)

    taken = peak(sweep)
    leave(taken // 2)
    assert peak(sweep) < taken // 2
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-3)


def test_gradients_take_no_more_than_their_estimate(attending):
    points = [Point(0, ComponentType.RESIDUAL)]

    def run():
        found = gradients(attending, mx.array([TOKENS]), points, lambda logits: logits[0, -1, 0])
        mx.eval(found.gradients[points[0]])

    assert peak(run) <= attending.footprint.of_gradients(1, LENGTH).nbytes


def test_a_text_that_grows_beyond_the_memory_ends_with_the_reason(leave):
    kit = tiny_kit("llama", layer_types=None, num_hidden_layers=8)
    steps = create_generator_with_activations(kit, [3, 4, 5], max_tokens=600)
    for _ in range(255):
        next(steps)
    leave(1000)
    with pytest.raises(NotEnoughMemoryError, match="lower max_tokens"):
        list(steps)
