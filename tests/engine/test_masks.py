"""A loaded model is one network, however its tokens are cut into passes."""

import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache

from benchmarks.architectures import tiny_config, tiny_model
from benchmarks.words import words
from engine.captures.hooks import ActivationHookSpec
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit, load_model
from engine.taps.points import Point

TOKENS = [3, 31, 4, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32, 3, 8, 46, 2, 14, 90, 33]
CUTS = [[20], [19, 1], [7, 7, 5, 1], [1] * 20]


@pytest.fixture(params=["plamo3", "phi3small", "gemma3n", "mistral4", "deepseek_v3", "llama"])
def kit(request, tmp_path: Path) -> ModelKit:
    """A tiny model as it is loaded from a folder."""
    model = tiny_model(request.param)
    (tmp_path / "config.json").write_text(json.dumps(tiny_config(request.param)))
    mx.save_safetensors(str(tmp_path / "model.safetensors"), dict(tree_flatten(model.parameters())))
    words(96).save_pretrained(tmp_path)
    return load_model(tmp_path)


def logits_in_passes(model: nn.Module, lengths: list[int]) -> np.ndarray:
    cache, first, found = make_prompt_cache(model), 0, []
    for length in lengths:
        chunk = mx.array([TOKENS[first : first + length]])
        found.append(np.array(model(chunk, cache=cache).astype(mx.float32)))
        first += length
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("lengths", CUTS)
def test_logits_do_not_depend_on_how_a_sequence_is_cut_into_passes(kit, lengths):
    whole = forward(kit, [TOKENS], logits="all").logits
    found = logits_in_passes(kit.model, lengths)
    np.testing.assert_allclose(found, whole, rtol=0, atol=2e-4)


def test_no_token_sees_a_later_one(kit):
    whole = forward(kit, [TOKENS], logits="all").logits
    start = forward(kit, [TOKENS[:9]], logits="all").logits
    np.testing.assert_allclose(start, whole[:, :9], rtol=0, atol=2e-4)


def test_a_generation_captures_what_a_forward_pass_does(kit):
    hooks = [ActivationHookSpec("*", c) for c in ("attention", "query", "key", "attention_pattern")]
    steps = list(create_generator_with_activations(kit, TOKENS, hooks, max_tokens=3))
    sequence = [*TOKENS, *(result.token for result, _ in steps[:-1])]
    whole = forward(kit, [sequence], hooks).activations
    for hook_id, (expected,) in whole.items():
        axis = 1 if expected.component == "attention" else 2
        last = steps[-1][1][hook_id][0].data
        np.testing.assert_allclose(
            last, expected.data.take([-1], axis), rtol=0, atol=2e-4, err_msg=hook_id
        )


@pytest.mark.parametrize("where", [slice(0, 8), slice(8, None)])
def test_an_edited_query_of_one_token_acts_as_in_a_forward_pass(kit, where):
    """Each half of it, for some attention keeps what it rotates apart."""
    place = len(TOKENS) + 1
    hooks = [ActivationHookSpec("1", "attention", positions=(place,))]

    def doubled(value, point, positions):
        value[..., where] *= 2
        return value

    edit = Intervention("1", "query", "function", positions=(place,), function=doubled)
    options = {"interventions": [edit], "max_tokens": 4}
    steps = list(create_generator_with_activations(kit, TOKENS, hooks, **options))
    sequence = [*TOKENS, *(result.token for result, _ in steps[:-1])]
    expected = forward(kit, [sequence], hooks, [edit]).activations["layer_1_attention"][0].data
    plain = forward(kit, [sequence], hooks).activations["layer_1_attention"][0].data
    (found,) = [step["layer_1_attention"][0].data for _, step in steps if step]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)
    if kit.structure.shapes[Point(1, "query")][-1] > 8 or where.start == 0:
        assert np.abs(expected - plain).max() > 1e-4
