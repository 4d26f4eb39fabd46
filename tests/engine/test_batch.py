"""Generations that run together: each gets what it gets alone."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from subjects import everywhere
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.errors import CaptureTooLargeError, InterventionError
from engine.interventions.intervention import Intervention
from engine.runs import batch as batching
from engine.runs.batch import Batch
from engine.runs.choices import Chooser
from engine.runs.generation import generate
from engine.runs.kit import ModelKit
from engine.runs.results import Generated
from engine.runs.row_caches import read_together
from engine.runs.run import Run
from engine.runs.sampling import Sampling

SHARED = ["llama", "gpt2", "gpt_oss", "qwen3_moe", "mamba2", "qwen3_next", "deepseek_v3"]
"""A rotary, a learned, a sliding, two mixed, a recurrent, a hybrid and a latent architecture."""
APART = {
    "afm7",
    "deepseek_v41",
    "gemma2",
    "gpt_bigcode",
    "llama4",
    "minimax_m3_vl",
    "nemotron-nas",
    "phi3small",
}
"""Architectures whose code or caches mlx-lm has for one sequence alone."""
LATER = 6_000
"""Bytes that suffice for the residuals of a prompt, and not for those of all tokens."""
RESIDUAL = [ActivationHookSpec("*", "residual")]


@pytest.fixture(scope="module")
def kit():
    return tiny_kit("llama")


@dataclass
class Request:
    """What one run is asked for; it arrives after so many steps of the others."""

    prompt: list[int] = field(default_factory=lambda: PROMPT)
    hooks: list[ActivationHookSpec] = field(default_factory=list)
    interventions: list[Intervention] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    arrives: int = 0
    budget: int | None = None

    def parts(self, kit: ModelKit) -> tuple:
        hooks = resolve_hooks(self.hooks, kit.structure)
        return kit, self.prompt, hooks, Sampling(**({"max_tokens": 12} | self.options))

    def run(self, kit: ModelKit) -> Run:
        run = Run(*self.parts(kit), interventions=self.interventions, budget_bytes=self.budget)
        assert run.can_share, kit.reason_apart
        return run

    def alone(self, kit: ModelKit) -> list[Generated | Exception]:
        outcomes: list[Generated | Exception] = []
        try:
            outcomes.extend(
                generate(
                    *self.parts(kit), interventions=self.interventions, budget_bytes=self.budget
                )
            )
        except Exception as error:
            outcomes.append(error)
        return outcomes


def together(kit: ModelKit, requests: list[Request]) -> list[list[Generated | Exception]]:
    """The outcomes of each request, of which as many as can be share their passes."""
    batch, outcomes = Batch(kit), [[] for _ in requests]
    number: dict[Run, int] = {}
    step = 0
    while len(number) < len(requests) or batch.runs:
        for each, request in enumerate(requests):
            if request.arrives == step:
                number[run := request.run(kit)] = each
                batch.add(run)
        for run, outcome in batch.advance():
            outcomes[number[run]].append(outcome)
        step += 1
    return outcomes


def assert_same(ours: list[Generated | Exception], theirs: list[Generated | Exception]) -> None:
    """The same tokens, text and reasons to end, and numbers that differ by rounding."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(other, Exception):
            assert (type(one), str(one)) == (type(other), str(other))
            continue
        assert not isinstance(one, Exception), one
        (result, activations), (expected, records) = one, other
        for name in ("token", "text", "piece", "finish_reason", "completion_tokens"):
            assert getattr(result, name) == getattr(expected, name)
        assert result.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert [each.token for each in result.top_logprobs] == [
            each.token for each in expected.top_logprobs
        ]
        assert activations.keys() == records.keys()
        for hook_id, reference in records.items():
            for record, wanted in zip(activations[hook_id], reference, strict=True):
                assert record.metadata == wanted.metadata
                rounding = 1e-5 if record.dtype == "float32" else 1e-3
                np.testing.assert_allclose(
                    record.data, wanted.data, rtol=rounding, atol=rounding, err_msg=hook_id
                )


def mixed(kit: ModelKit) -> list[Request]:
    """Rows of all kinds, which join and leave at different times."""
    everything = everywhere(kit.structure)
    added = np.linspace(-1, 1, kit.structure.hidden_size, dtype=np.float32)
    steer = Intervention("1", "residual", "addition", value=added)
    ablate = Intervention("0", "attention", "ablation", positions=(-1,))
    return [
        Request(hooks=everything),
        Request(PROMPT[:3], options={"max_tokens": 30, "top_logprobs": 4}),
        Request(PROMPT[2:11], interventions=[steer], hooks=RESIDUAL, arrives=1),
        Request(PROMPT[5:9], options={"temperature": 1.2, "seed": 7, "max_tokens": 5}, arrives=1),
        Request(PROMPT * 3, hooks=everything, interventions=[ablate], arrives=3),
        Request(PROMPT[:1], options={"temperature": 0.9, "seed": -1, "top_p": 0.8}, arrives=4),
        Request(PROMPT, options={"repetition_penalty": 1.5, "logit_bias": {5: 2.0}}, arrives=4),
        Request(PROMPT * 2, options={"max_tokens": 1, "prefill_step_size": 5}, arrives=6),
        Request(
            PROMPT[:6],
            hooks=[ActivationHookSpec("0", "residual", positions=(1, -1, 9), dtype="float16")],
            arrives=7,
        ),
        Request(PROMPT[:7], options={"frequency_penalty": 1.0, "presence_penalty": 0.5}, arrives=7),
        Request(PROMPT[3:], options={"max_tokens": 3}, arrives=40),
    ]


@pytest.mark.parametrize("name", SHARED)
def test_each_row_is_as_the_row_alone(name):
    kit = tiny_kit(name)
    requests = mixed(kit)
    for request, outcomes in zip(requests, together(kit, requests), strict=True):
        assert_same(outcomes, request.alone(kit))


@pytest.mark.parametrize("name", SHARED)
def test_prompts_that_wait_together_are_read_in_one_pass(name, monkeypatch):
    kit = tiny_kit(name)
    everything = everywhere(kit.structure)
    change = Intervention("0", "attention", "scaling", factor=3.0, positions=(2, -1))
    late = [replace(each, positions=(-1, 1)) for each in everything]
    requests = [
        Request(PROMPT[:9], hooks=everything),
        Request(PROMPT[3:]),
        Request([*PROMPT, 1, 2], hooks=RESIDUAL, interventions=[change]),
        Request(PROMPT[5:11], hooks=late),
    ]
    expected = [request.alone(kit) for request in requests]
    assert kit.reason_reads_apart is None
    passes = []

    def counted(model, rows, *arguments):
        passes.append(len(rows))
        return read_together(model, rows, *arguments)

    monkeypatch.setattr(batching, "read_together", counted)
    for ours, theirs in zip(together(kit, requests), expected, strict=True):
        assert_same(ours, theirs)
    assert passes == [len(requests)]


def test_a_row_that_fails_ends_alone_at_each_stage(kit):
    def broken(value, point, positions):
        raise ValueError(f"broken at {positions[-1]}")

    def breaking_later(value, point, positions):
        return broken(value, point, positions) if positions[-1] > 20 else None

    functions = [Intervention("1", "mlp", "function", function=f) for f in (broken, breaking_later)]
    wrong = Intervention("0", "mlp", "addition", value=np.ones((1, 1, 7), np.float32))
    failing = [
        Request(PROMPT[:5], interventions=functions[:1], arrives=2),  # reading its prompt
        Request(PROMPT, interventions=functions[1:], arrives=1),  # in a pass that rows share
        Request(PROMPT[:8], interventions=[wrong]),
        Request(PROMPT, hooks=RESIDUAL, budget=2000, arrives=3),  # too large in its prompt
        Request(PROMPT, hooks=RESIDUAL, budget=LATER, options={"max_tokens": 20}),
    ]
    requests = [*mixed(kit), *failing]
    outcomes = together(kit, requests)
    for request, ours in zip(requests, outcomes, strict=True):
        assert_same(ours, request.alone(kit))
    errors = [ours[-1] for ours in outcomes[-len(failing) :]]
    kinds = [ValueError, ValueError, InterventionError, *[CaptureTooLargeError] * 2]
    assert [type(error) for error in errors] == kinds


def test_a_sampler_that_fails_fails_its_row_alone(kit, monkeypatch):
    requests = mixed(kit)
    expected = [request.alone(kit) for request in requests]
    drawn = Chooser.drawn
    calls = []

    def breaking(chooser, logprobs):
        calls.append(chooser)
        if len(calls) > 3 and chooser is calls[0]:
            raise RuntimeError("no token")
        return drawn(chooser, logprobs)

    monkeypatch.setattr(Chooser, "drawn", breaking)
    outcomes = together(kit, requests)
    failed = [number for number, ours in enumerate(outcomes) if isinstance(ours[-1], Exception)]
    assert len(failed) == 1
    for number, ours in enumerate(outcomes):
        if number not in failed:
            assert_same(ours, expected[number])


def test_rows_that_are_removed_or_wait_change_no_other(kit):
    requests = [replace(request, arrives=0) for request in mixed(kit)]
    batch, outcomes = Batch(kit), [[] for _ in requests]
    runs = [request.run(kit) for request in requests]
    for run in runs:
        batch.add(run)
    removed, waiting = runs[1], (runs[0], runs[3], runs[4])
    step = 0
    while batch.runs:
        if step == 4:
            batch.remove([removed])
        held = waiting if 2 <= step < 9 else runs if 12 <= step < 14 else ()
        before = [len(each) for each in outcomes]
        for run, outcome in batch.advance(held):
            outcomes[runs.index(run)].append(outcome)
        if 3 <= step < 9:
            assert all(len(outcomes[runs.index(run)]) == before[runs.index(run)] for run in waiting)
        step += 1
    for number, (request, ours) in enumerate(zip(requests, outcomes, strict=True)):
        expected = request.alone(kit)
        if number == 1:
            assert 0 < len(ours) < len(expected)
            expected = expected[: len(ours)]
        assert_same(ours, expected)


def test_no_taps_are_left(kit):
    def classes():
        return [type(module) for _, module in kit.model.named_modules()]

    plain = classes()
    requests = mixed(kit)[:4]
    batch = Batch(kit)
    for request in requests:
        batch.add(request.run(kit))
    for _ in range(3):
        batch.advance()
    assert classes() != plain
    batch.close()
    assert classes() == plain
    together(kit, requests)
    assert classes() == plain


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("llama4", {}, "ChunkedKVCache"),
        ("gemma2", {}, "differ"),
        ("gpt_bigcode", {}, "length-1 arrays"),
        ("llama", {"max_kv_size": 8}, "keeps its first tokens"),
    ],
)
def test_models_whose_rows_cannot_share_passes_say_why(name, options, reason):
    changes = {"layer_types": ["full_attention"] * 2} if name == "llama" else {}
    assert reason in str(tiny_kit(name, kit=options, **changes).reason_apart)


def test_states_that_padding_would_change_are_read_alone(kit):
    assert kit.reason_reads_apart is None
    mamba = tiny_kit("mamba")
    assert mamba.reason_apart is None
    assert "differ" in str(mamba.reason_reads_apart)


def test_runs_that_would_change_others_do_not_share(kit):
    def run(**options):
        return Run(kit, PROMPT, (), Sampling(), **options)

    pattern = Intervention("1", "attention_pattern", "ablation", heads=(0,))
    asking = Intervention("1", "mlp", "function", function=lambda *where: None)
    assert run().can_share
    assert run(interventions=[asking]).can_share
    assert not run(interventions=[pattern]).can_share
    assert not run(prompt_cache=kit.make_cache()).can_share


def test_on_every_architecture_rows_that_share_are_as_alone(architecture):
    kit = tiny_kit(architecture)
    if kit.reason_apart is not None:
        assert architecture in APART
        return
    everything = RESIDUAL if kit.picks_keys else everywhere(kit.structure)
    requests = [
        Request(PROMPT[:6], hooks=everything, options={"max_tokens": 5}),
        Request(PROMPT, options={"max_tokens": 6}, arrives=1),
        Request(PROMPT[4:7], hooks=everything, options={"max_tokens": 4}, arrives=2),
    ]
    for request, outcomes in zip(requests, together(kit, requests), strict=True):
        assert_same(outcomes, request.alone(kit))
