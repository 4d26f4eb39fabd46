"""Tokens are drawn as numpy says, by a key of the run's own."""

import mlx.core as mx
import numpy as np
import pytest
from tiny import PROMPT, tiny_kit

from engine.errors import InvalidRequestError
from engine.runs.generation import create_generator_with_activations
from engine.runs.sampler import LARGEST_SEED, LEAST_SEED, Sampler

VOCAB = 40
DRAWS = 40_000
LOGPROBS = np.random.default_rng(3).normal(scale=1.5, size=VOCAB)
LOGPROBS -= np.log(np.exp(LOGPROBS).sum())
FILTERS = [
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": VOCAB},
    {"top_k": 10 * VOCAB},
    {"top_p": 0.5},
    {"top_p": 0.95},
    {"top_p": 1e-9},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"top_k": 12, "top_p": 0.9},
    {"top_k": 5, "min_p": 0.05, "top_p": 0.99},
]


def drawn(count=DRAWS, **options):
    """So many draws, all rows of one call."""
    rows = mx.broadcast_to(mx.array(LOGPROBS.astype(np.float32)), (count, VOCAB))
    return np.array(Sampler(**options)(rows))


def expected(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """The probabilities that the tokens should have, from the likeliest down."""
    probabilities = np.exp(LOGPROBS)
    kept, mass = [], 0.0
    for token in np.argsort(-probabilities):
        enough = kept and (
            mass >= top_p
            or probabilities[token] < min_p * probabilities.max()
            or len(kept) == top_k
        )
        if enough:
            break
        kept.append(token)
        mass += probabilities[token]
    left = np.zeros(VOCAB)
    left[kept] = probabilities[kept] ** (1 / temperature)
    return left / left.sum()


@pytest.mark.parametrize("options", FILTERS, ids=str)
@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.5])
def test_draws_have_the_probabilities_that_numpy_gives_the_tokens(options, temperature):
    found = np.bincount(drawn(temperature=temperature, seed=1, **options), minlength=VOCAB) / DRAWS
    wanted = expected(temperature, **options)
    assert set(np.flatnonzero(found)) <= set(np.flatnonzero(wanted))
    deviation = np.sqrt(wanted * (1 - wanted) / DRAWS)
    assert np.all(np.abs(found - wanted) <= 5 * deviation)


def test_temperature_0_is_the_likeliest_token():
    assert set(drawn(temperature=0, top_k=3, seed=1)) == {LOGPROBS.argmax()}


def test_the_calls_of_one_sampler_draw_differently():
    sampler = Sampler(temperature=1.0, seed=5)
    row = mx.zeros((100, 1000))
    assert not np.array_equal(np.array(sampler(row)), np.array(sampler(row)))


SEEDS = [
    *range(-20, 20),
    *(
        sign * (2**power + near)
        for power in (31, 32, 33, 62)
        for near in (-1, 0, 1)
        for sign in (1, -1)
    ),
    2**63 - 1,
    2**63,
    2**63 + 1,
    LEAST_SEED,
    LEAST_SEED + 1,
    LARGEST_SEED,
    LARGEST_SEED - 1,
]


def test_each_seed_of_64_bits_draws_for_itself_and_repeats_itself():
    rows = mx.zeros((30, 1000))
    texts = [tuple(np.array(Sampler(temperature=1.0, seed=seed)(rows))) for seed in SEEDS]
    assert len(set(texts)) == len(SEEDS)
    assert texts == [tuple(np.array(Sampler(temperature=1.0, seed=s)(rows))) for s in SEEDS]


@pytest.fixture(scope="module")
def kit():
    return tiny_kit("llama")


def steps(kit, **options):
    asked = {"max_tokens": 24, "temperature": 1.5} | options
    return create_generator_with_activations(kit, PROMPT, **asked)


def tokens(kit, **options):
    return [result.token for result, _ in steps(kit, **options)]


def test_what_runs_without_a_seed_differs_from_what_ran_before(kit):
    seeded = tokens(kit, seed=7)
    others = [tokens(kit) for _ in range(4)]
    assert len({tuple(each) for each in (seeded, *others)}) == 5
    assert tokens(kit, seed=7) == seeded


def test_a_seeded_run_does_not_depend_on_what_runs_beside_it(kit):
    alone = [tokens(kit, seed=seed) for seed in (1, -1)]
    beside = zip(steps(kit, seed=1), steps(kit), steps(kit, seed=-1), strict=True)
    first, _, last = zip(*([result.token for result, _ in each] for each in beside), strict=True)
    assert [list(first), list(last)] == alone


@pytest.mark.parametrize("options", [{"seed": 3}, {"top_k": 5, "top_p": 0.9, "min_p": 0.01}, {}])
def test_the_random_state_of_mlx_is_neither_read_nor_changed(kit, options):
    mx.random.seed(11)
    before = np.array(mx.random.state[0])
    tokens(kit, **options)
    np.testing.assert_array_equal(np.array(mx.random.state[0]), before)
    seeded = tokens(kit, seed=3)
    mx.random.seed(12)
    assert tokens(kit, seed=3) == seeded


def test_a_run_that_fails_while_it_samples_leaves_the_next_as_it_was(kit, monkeypatch):
    before = tokens(kit, seed=9, top_k=4)
    with monkeypatch.context() as broken:
        broken.setattr(mx.random, "categorical", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tokens(kit, seed=9, top_k=4)
    with pytest.raises(InvalidRequestError):
        tokens(kit, top_p=0.0)
    assert tokens(kit, seed=9, top_k=4) == before


@pytest.mark.parametrize("seed", [LEAST_SEED - 1, LARGEST_SEED + 1])
def test_a_seed_of_more_than_64_bits_is_refused(kit, seed):
    with pytest.raises(InvalidRequestError, match=r"seed is -?\d+, not -9223372036854775808 to"):
        tokens(kit, seed=seed)


def test_the_choices_of_one_seed_differ_and_repeat(kit):
    texts = [tokens(kit, seed=4, choice=choice) for choice in range(4)]
    assert len({tuple(each) for each in texts}) == 4
    assert texts == [tokens(kit, seed=4, choice=choice) for choice in range(4)]
    assert texts[0] == tokens(kit, seed=4)
