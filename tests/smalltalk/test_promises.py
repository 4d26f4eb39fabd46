"""In Amber each call has a variant that answers a Promise at once."""

import pytest

from bridge.client import LMStudioNeuroScopeClient
from systems import Amber, SmalltalkError


@pytest.fixture(scope="module")
def amber() -> Amber:
    return Amber()


def test_a_promise_is_kept_with_the_same_numbers(
    amber: Amber, engine: LMStudioNeuroScopeClient
) -> None:
    ask = "c forward: 'The capital of France is' hooks: {c hookForLayer: 3 component: #residual}"
    mean = (
        "(((c convertActivationsForNeuroScope: (r at: #activations)) at: 'layer_3_residual') "
        "at: 1) mean printString"
    )
    waited = amber.run(
        f"| c r | c := LMStudioRESTClient baseUrl: '{engine.base_url}'. r := {ask}. {mean}"
    )
    promised = amber.run(
        f"| c | c := LMStudioPromisingClient baseUrl: '{engine.base_url}'. "
        f"({ask}) then: [:r | {mean}]"
    )
    assert promised == waited


def test_a_refused_call_rejects_the_promise(amber: Amber, engine: LMStudioNeuroScopeClient) -> None:
    with pytest.raises(SmalltalkError, match="LMStudioNotFoundError"):
        amber.run(f"(LMStudioPromisingClient baseUrl: '{engine.base_url}') captureAt: 'none'")
