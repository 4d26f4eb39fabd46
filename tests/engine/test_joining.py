"""Values that are captured together are those that are captured alone, pass after pass."""

import weakref
from time import monotonic, sleep

import numpy as np
import pytest
from tiny import PROMPT, tiny_kit

from engine.captures.delivery import Delivery
from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.runs.generation import create_generator_with_activations

TOGETHER = [
    ActivationHookSpec("*", C.RESIDUAL),
    ActivationHookSpec("*", C.RESIDUAL, hook_id="half", dtype="float16"),
    ActivationHookSpec("*", C.MLP),
    ActivationHookSpec("*", C.QUERY, heads=(1, 3)),
    ActivationHookSpec("*", C.ATTENTION_PATTERN),
    ActivationHookSpec("0", C.VALUE, positions=(1, -1)),
    ActivationHookSpec("*", C.ROUTER_CHOICE),
    ActivationHookSpec("*", C.ROUTER),
]


@pytest.fixture(scope="module")
def kit():
    return tiny_kit("qwen3_moe")


def captured(kit, hooks: list[ActivationHookSpec]) -> dict[str, list]:
    """What a generation captured, by hook id: of each step in turn."""
    activations: dict[str, list] = {}
    steps = create_generator_with_activations(
        kit, PROMPT, hooks, max_tokens=5, prefill_step_size=3, seed=1
    )
    for _, step in steps:
        for hook_id, records in step.items():
            activations.setdefault(hook_id, []).extend(records)
    return activations


def test_hooks_together_capture_what_each_captures_alone(kit):
    together = captured(kit, TOGETHER)
    alone: dict[str, list] = {}
    for hook in TOGETHER:
        alone |= captured(kit, [hook])
    assert together.keys() == alone.keys()
    for hook_id, records in together.items():
        for record, expected in zip(records, alone[hook_id], strict=True):
            assert record.metadata == expected.metadata
            np.testing.assert_array_equal(record.data, expected.data)


def test_an_error_in_a_delivery_is_raised_where_the_result_is_awaited():
    failing = Delivery(lambda: 1 / 0)
    assert Delivery(lambda: 7).result() == 7
    with pytest.raises(ZeroDivisionError):
        failing.result()


def test_the_delivering_thread_holds_nothing_that_it_delivered():
    array = np.zeros(3)
    gone = weakref.ref(array)
    delivery = Delivery(lambda kept=array: kept)
    assert delivery.result() is array
    del array, delivery
    until = monotonic() + 10
    while gone() is not None and monotonic() < until:
        sleep(0.01)
    assert gone() is None
