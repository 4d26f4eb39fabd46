"""A prompt that begins as an earlier sequence gets what it gets alone, and is read in part."""

import gc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from subjects import everywhere
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.interventions.intervention import Intervention
from engine.machine import memory
from engine.runs import prefixes as module
from engine.runs.batch import Batch
from engine.runs.kit import ModelKit
from engine.runs.prefixes import PrefixCache
from engine.runs.results import Generated
from engine.runs.run import Run
from engine.runs.sampling import Sampling

LONG = PROMPT * 2
WHOLE = {"layer_types": ["full_attention"] * 2}
RECURRENT = ["mamba2", "qwen3_next", "falcon_h1"]
WINDOWED = ["llama", "gpt_oss", "gemma3_text"]
ATTENTION = ["gpt2", "deepseek_v3", "qwen3_moe", "gemma2"]
ENOUGH = 1 << 30


@pytest.fixture(scope="module")
def kit() -> ModelKit:
    return tiny_kit("llama", **WHOLE)


def run_of(
    kit: ModelKit,
    prompt: Sequence[int],
    kept: PrefixCache | None,
    *,
    hooks: Sequence[ActivationHookSpec] = (),
    interventions: Sequence[Intervention] = (),
    **options: Any,
) -> Run:
    sampling = Sampling(**({"max_tokens": 5, "top_logprobs": 3} | options))
    resolved = resolve_hooks(hooks, kit.structure)
    return Run(kit, prompt, resolved, sampling, interventions=interventions, prefixes=kept)


def outcomes(kit: ModelKit, *runs: Run) -> list[list[Generated]]:
    """The tokens of runs that share their passes, if they can."""
    batch, made = Batch(kit), {run: [] for run in runs}
    for run in runs:
        batch.add(run)
    while batch.runs:
        for run, outcome in batch.advance():
            if isinstance(outcome, Exception):
                raise outcome
            made[run].append(outcome)
    return list(made.values())


def assert_same(ours: Sequence[Generated], theirs: Sequence[Generated]) -> None:
    for (result, records), (expected, wanted) in zip(ours, theirs, strict=True):
        assert (result.token, result.text) == (expected.token, expected.text)
        assert result.logprob == pytest.approx(expected.logprob, abs=1e-5)
        assert records.keys() == wanted.keys()
        for hook_id, references in wanted.items():
            for record, reference in zip(records[hook_id], references, strict=True):
                assert record.metadata == reference.metadata
                np.testing.assert_allclose(record.data, reference.data, rtol=1e-5, atol=1e-5)


def last(kit: ModelKit, prompt: Sequence[int]) -> list[ActivationHookSpec]:
    """A hook on all that there is, at the last position of a prompt and at one generated."""
    end = len(prompt)
    return [
        ActivationHookSpec(
            each.layer_name, each.component, each.hook_id, positions=(end - 1, end + 1)
        )
        for each in everywhere(kit.structure)
        if not each.capture_input
    ]


@pytest.mark.parametrize("name", [*ATTENTION, *WINDOWED, *RECURRENT])
def test_a_conversation_that_grows_is_read_on_from_its_last_answer(name):
    kit, kept = tiny_kit(name), PrefixCache(ENOUGH)
    prompt = list(LONG)
    for turn in range(3):
        runs = [run_of(kit, prompt, each, hooks=last(kit, prompt)) for each in (kept, None)]
        [warm], [cold] = (outcomes(kit, run) for run in runs)
        assert_same(warm, cold)
        # the last token of an answer has not gone through the model
        assert runs[0].cached_tokens == (0 if turn == 0 else len(prompt) - 4)
        prompt += [*(result.token for result, _ in warm), 7, 9, turn]


@pytest.mark.parametrize("name", ["gpt2", "gpt_oss", "mamba2", "gemma2"])
def test_one_that_ends_otherwise_reuses_what_can_be_taken_back(name):
    kit, kept = tiny_kit(name), PrefixCache(ENOUGH)
    outcomes(kit, run_of(kit, LONG, kept))
    reusable = len(LONG) - 6 if name in ("gpt2", "gemma2") else 0
    prompts = {reusable: [*LONG[:-6], 1, 1, 2], len(LONG) - 1: LONG}
    for cached, prompt in prompts.items():
        runs = [run_of(kit, prompt, each, hooks=last(kit, prompt)[:9]) for each in (kept, None)]
        [warm], [cold] = (outcomes(kit, run) for run in runs)
        assert runs[0].cached_tokens == cached
        assert_same(warm, cold)


def test_what_is_looked_at_goes_through_the_model_again(kit):
    kept = PrefixCache(ENOUGH)
    outcomes(kit, run_of(kit, LONG, kept))
    for positions, cached in ((None, 0), ("prompt", 0), ((20, -1), 20), ("generated", 31)):
        hooks = [ActivationHookSpec("*", "residual", positions=positions)]
        runs = [run_of(kit, LONG, each, hooks=hooks) for each in (kept, None)]
        [warm], [cold] = (outcomes(kit, run) for run in runs)
        assert runs[0].cached_tokens == cached
        assert_same(warm, cold)


def test_what_is_changed_is_neither_taken_from_others_nor_left_to_them(kit):
    added = np.linspace(-3, 3, kit.structure.hidden_size, dtype=np.float32)

    def steered(positions):
        return [Intervention("0", "residual", "addition", value=added, positions=positions)]

    kept = PrefixCache(ENOUGH)
    outcomes(kit, run_of(kit, LONG, kept, interventions=steered(None)))
    assert kept.nbytes == 0
    [plain] = outcomes(kit, run_of(kit, LONG, kept))
    for positions, cached in ((None, 0), ((3, 30), 0), ((25, 26), 25), ("generated", 31)):
        before = kept.nbytes
        runs = [run_of(kit, LONG, each, interventions=steered(positions)) for each in (kept, None)]
        [warm], [cold] = (outcomes(kit, run) for run in runs)
        assert (runs[0].cached_tokens, kept.nbytes) == (cached, before)
        assert_same(warm, cold)
        assert [each.logprob for each, _ in warm] != [each.logprob for each, _ in plain]
    [again] = outcomes(kit, run_of(kit, LONG, kept))
    assert_same(again, plain)


@pytest.mark.parametrize("name", ["llama", "gpt_oss", "qwen3_next"])
def test_rows_that_share_passes_leave_and_find_what_rows_alone_do(name):
    kit, kept = tiny_kit(name), PrefixCache(ENOUGH)
    added = np.ones(kit.structure.hidden_size, np.float32)
    steer = [Intervention("1", "residual", "addition", value=added)]
    residual = [ActivationHookSpec("*", "residual")]

    def rows(prefixes, prompts):
        for place, prompt in enumerate(prompts):
            yield run_of(kit, prompt, prefixes, max_tokens=3 + place)
            yield run_of(kit, prompt, prefixes, hooks=residual, max_tokens=3)
            yield run_of(kit, prompt, prefixes, hooks=last(kit, prompt), max_tokens=3)
            yield run_of(kit, prompt, prefixes, interventions=steer)

    prompts = [LONG, [*LONG[4:], 2], [8, *LONG]]
    first = outcomes(kit, *rows(kept, prompts))
    assert_all_same(first, [outcomes(kit, run)[0] for run in rows(None, prompts)])
    longer = [
        [*prompt, *(result.token for result, _ in first[4 * place]), 6, 7]
        for place, prompt in enumerate(prompts)
    ]
    again = list(rows(kept, longer))
    assert_all_same(outcomes(kit, *again), [outcomes(kit, run)[0] for run in rows(None, longer)])
    whole = [len(prompt) + place for place, prompt in enumerate(prompts, start=2)]
    assert [run.cached_tokens for run in again[::4]] == whole
    assert [run.cached_tokens for run in again[2::4]] == whole
    assert {run.cached_tokens for run in (*again[1::4], *again[3::4])} == {0}


def assert_all_same(ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert_same(one, other)


def test_the_least_recently_used_goes_first(kit):
    prompts = [[number, *LONG] for number in range(4)]
    kept = PrefixCache(ENOUGH)
    outcomes(kit, run_of(kit, prompts[0], kept, max_tokens=1))
    one = kept.nbytes
    layers, width = kit.info.layers, kit.info.kv_heads * kit.info.head_dim
    assert one == 2 * layers * (len(LONG) + 1) * width * 4  # the one generated was not run
    kept.budget_bytes = 2 * one + 1

    def cached(prompt):
        run = run_of(kit, prompt, kept, max_tokens=1)
        outcomes(kit, run)
        assert kept.nbytes <= kept.budget_bytes
        return run.cached_tokens

    assert [cached(each) for each in prompts[1:2] + prompts[:1] + prompts[2:3]] == [0, 32, 0]
    assert [cached(prompts[0]), cached(prompts[1])] == [32, 0]  # 1 had gone, not 0
    nothing = PrefixCache(0)
    outcomes(kit, run_of(kit, LONG, nothing), run_of(kit, LONG, nothing))
    assert nothing.nbytes == 0


def test_what_is_kept_gives_way_to_what_needs_its_memory(kit, monkeypatch):
    kept = PrefixCache(ENOUGH)
    outcomes(kit, run_of(kit, LONG, kept))
    held = kept.nbytes
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000 + held - kept.nbytes)
    assert memory.room_for(900) == 1000
    assert memory.room_for(ENOUGH) == 1000  # which would not do
    assert kept.nbytes == held
    assert memory.room_for(1001) == 1000 + held
    assert kept.nbytes == 0


def test_what_fails_leaves_nothing(kit, monkeypatch):
    kept = PrefixCache(ENOUGH)
    outcomes(kit, run_of(kit, LONG, kept))
    before = kept.nbytes

    def broken(value, point, positions):
        raise ValueError("broken")

    failing = [Intervention("1", "mlp", "function", function=broken, positions=("generated"))]
    with pytest.raises(ValueError, match="broken"):
        outcomes(kit, run_of(kit, [*LONG, 1, 2, 3], kept, interventions=failing))
    monkeypatch.setattr(module, "compact", broken)
    with pytest.raises(TypeError):
        outcomes(kit, run_of(kit, [*LONG, 4, 5, 6], kept))
    monkeypatch.undo()
    assert kept.nbytes == before
    runs = [run_of(kit, [*LONG, 1, 2, 3], each) for each in (kept, None)]
    assert_same(*(outcomes(kit, run)[0] for run in runs))


def test_copies_of_a_model_have_their_own_and_take_it_with_them():
    one, other, kept = tiny_kit("llama"), tiny_kit("llama"), PrefixCache(ENOUGH)
    outcomes(one, run_of(one, LONG, kept))
    run = run_of(other, LONG, kept)
    outcomes(other, run)
    assert run.cached_tokens == 0
    both = kept.nbytes
    del other, run
    gc.collect()
    assert kept.nbytes == both // 2


def test_caches_that_would_be_others_are_not_reused():
    small = tiny_kit("llama", kit={"max_kv_size": len(LONG) + 4}, **WHOLE)
    kept = PrefixCache(ENOUGH)
    for prompt, cached in ((LONG, 0), (LONG, 31), ([*LONG, *PROMPT], 0)):
        runs = [run_of(small, prompt, each, max_tokens=9) for each in (kept, None)]
        [warm], [cold] = (outcomes(small, run) for run in runs)
        assert runs[0].cached_tokens == cached
        assert_same(warm, cold)
    widths = {"head_dim": 32, "hidden_size": 128} | WHOLE
    quantised = tiny_kit("llama", kit={"kv_bits": 8, "kv_group_size": 32}, **widths)
    assert "quantised" in str(quantised.reason_read_anew)
    outcomes(quantised, run_of(quantised, LONG, empty := PrefixCache(ENOUGH)))
    assert empty.nbytes == 0
