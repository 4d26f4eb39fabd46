"""A forward pass in steps, from Python: what the operations of a debug session do, as an object."""

import numpy as np
import pytest

from bridge.debugger import ForwardDebugger
from bridge.errors import LMStudioError
from bridge.wire import from_record

PROMPT = "The capital of France is"
MLP = {"layer_name": "20", "component": "mlp"}


def test_a_pass_in_steps_is_changed_compared_and_run_again(engine):
    plain = engine.forward(PROMPT)
    ablated = engine.forward(PROMPT, interventions=[MLP | {"operation": "ablation"}])
    with ForwardDebugger(engine, PROMPT) as debugger:
        assert debugger.step()["layer"] == 1
        assert debugger.step("point")["at"]["component"] == "layernorm"
        debugger.step_to(20, "mlp")
        fork = debugger.fork(0 * debugger.value, top_k=1)
        debugger.value = 0 * debugger.value
        debugger.run()
        np.testing.assert_allclose(debugger.value, from_record(ablated["logits"], {}), atol=1e-4)
        assert debugger.fork()["divergence"] == pytest.approx(fork["divergence"], abs=1e-5)
        assert fork["top"][1][0]["id"] == ablated["top"][0][0]["id"]
        assert debugger.restart(20)["changes"] == []
        debugger.run()
        np.testing.assert_allclose(debugger.value, from_record(plain["logits"], {}), atol=1e-4)
        debugger.restart(29)
        debugger.step()
        assert debugger.logit_lens(top_k=1)["top"][0]["id"] == plain["top"][0][0]["id"]
    with pytest.raises(LMStudioError, match="ended on request"):
        debugger.step()


def test_the_model_gets_its_own_value_back(engine):
    with ForwardDebugger(engine, PROMPT) as debugger:
        debugger.step_to("blocks.3.attn.hook_z")
        own = debugger.value
        debugger.value = own + 1
        np.testing.assert_allclose(debugger.value, own + 1, rtol=1e-6)
        debugger.value = None
        np.testing.assert_array_equal(debugger.value, own)
