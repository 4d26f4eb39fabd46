"""Generations that run together: each gets what it gets alone."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from subjects import everywhere
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.interventions.intervention import Intervention
from engine.runs.batch import Batch
from engine.runs.generation import generate
from engine.runs.kit import ModelKit
from engine.runs.results import Generated
from engine.runs.run import Run
from engine.runs.sampling import Sampling

SHARED = ["llama", "gpt2", "gpt_oss", "qwen3_moe", "mamba2", "qwen3_next", "deepseek_v3"]
"""A rotary, a learned, a sliding, two mixed, a recurrent, a hybrid and a latent architecture."""
RESIDUAL = [ActivationHookSpec("*", "residual")]


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
