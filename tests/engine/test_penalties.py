"""Presence and frequency penalties are OpenAI's, counted by hand in numpy."""

from collections import Counter

import mlx.core as mx
import numpy as np
import pytest
from tiny import PROMPT, greedy, tiny_kit

from engine.errors import InvalidRequestError
from engine.runs.generation import create_generator_with_activations

COUNT = 24
FULL = {"layer_types": ["full_attention"] * 2}


@pytest.fixture(scope="module")
def kit():
    return tiny_kit("llama", **FULL)


def by_hand(kit, presence, frequency):
    """Greedy tokens: each time all logits anew, and what was generated counted anew."""
    generated: list[int] = []
    while len(generated) < COUNT:
        logits = np.array(kit.model(mx.array([[*PROMPT, *generated]])))[0, -1].astype(np.float64)
        for token, times in Counter(generated).items():
            logits[token] -= presence + times * frequency
        generated.append(int(logits.argmax()))
    return generated


def tokens(kit, **options):
    steps = create_generator_with_activations(kit, PROMPT, max_tokens=COUNT, **options)
    return [result.token for result, _ in steps]


@pytest.mark.parametrize(
    ("presence", "frequency"), [(0.4, 0.0), (0.0, 0.3), (0.5, 0.2), (-0.5, 0.0), (2.0, -2.0)]
)
@pytest.mark.parametrize("chunk", [5, 2048])
def test_tokens_are_those_of_openais_formula(kit, presence, frequency, chunk):
    options = {"presence_penalty": presence, "frequency_penalty": frequency}
    assert tokens(kit, **options, prefill_step_size=chunk) == by_hand(kit, presence, frequency)


def test_a_penalty_changes_something_here(kit):
    plain = greedy(kit.model, PROMPT, COUNT)
    assert tokens(kit, presence_penalty=0.0, frequency_penalty=0.0) == plain
    assert len({tuple(by_hand(kit, *p)) for p in ((0, 0), (0.4, 0.0), (0.0, 0.3))}) == 3


def test_a_draft_changes_nothing_about_penalties(kit):
    draft = tiny_kit("llama", **FULL).model
    noisy = draft.model.layers[0].mlp.down_proj
    noisy.weight = noisy.weight + 0.3 * mx.random.normal(noisy.weight.shape, key=mx.random.key(1))
    options = {"presence_penalty": 0.5, "frequency_penalty": 0.2}
    assert tokens(kit, **options, draft_model=draft) == by_hand(kit, 0.5, 0.2)


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
@pytest.mark.parametrize("value", [2.1, -2.1, float("nan")])
def test_a_penalty_beyond_openais_bounds_is_refused(kit, name, value):
    with pytest.raises(InvalidRequestError, match=f"{name} is .*, not -2 to 2"):
        tokens(kit, **{name: value})
