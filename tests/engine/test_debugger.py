"""A pass in steps computes what one whole pass does, wherever it is stopped, changed, restarted."""

import mlx.core as mx
import numpy as np
import pytest
from tiny import tiny_kit

from engine.analysis.debugger import ForwardDebugger, next_layer, next_point, nowhere
from engine.analysis.forks import divergence, fork
from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.errors import (
    CaptureTooLargeError,
    InterventionError,
    InvalidRequestError,
    UnknownComponentError,
    UnknownLayerError,
)
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.taps.points import Point

TOKENS = [3, 31, 4, 15, 9, 26, 5, 35]
KINDS = {
    "llama": "softmax attention",
    "gpt2": "learned positions, tied embedding",
    "gemma2": "norms behind the parts, softcaps",
    "deepseek_v3": "latent attention, experts",
    "gpt_oss": "sinks, a sliding window",
    "gemma4": "inputs for each layer, keys of earlier layers",
    "jamba": "a hybrid with a state space",
    "qwen3_next": "a hybrid with linear attention",
    "mamba2": "a state space alone",
    "rwkv7": "recurrent, a value of the first layer in all",
    "nanbeige": "each layer runs twice",
}


def numbers(value: mx.array) -> np.ndarray:
    return np.array(value.astype(mx.float32))


def replaced(layer: int, component: str, value: np.ndarray) -> Intervention:
    return Intervention(str(layer), component, "replacement", value=value)


@pytest.mark.parametrize("name", KINDS)
def test_restarted_at_each_layer_and_stepped_through_each_point_it_is_the_whole_pass(name: str):
    kit = tiny_kit(name)
    whole = forward(kit, [TOKENS]).logits
    debugger = ForwardDebugger(kit, TOKENS)
    debugger.step(nowhere)
    for layer in reversed(range(kit.structure.layers)):
        debugger.restart(layer)
        debugger.step(nowhere)
        np.testing.assert_allclose(numbers(debugger.value), whole, atol=1e-5)
    debugger.restart(0)
    while debugger.stop is not None:
        debugger.step(next_point)
    np.testing.assert_allclose(numbers(debugger.value), whole, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gemma4", "jamba", "rwkv7"])
def test_a_change_in_an_early_layer_lasts_beyond_a_restart_at_a_later_one(name: str):
    """In gemma4 later layers read the keys of layer 0, in rwkv7 its values."""
    kit = tiny_kit(name)
    component = {"gemma4": "key", "rwkv7": "layernorm"}.get(name, "attention")
    debugger = ForwardDebugger(kit, TOKENS)
    debugger.step(debugger.target("0", component))
    value = 2 * numbers(debugger.value) + 0.5
    debugger.change(value)
    debugger.step(nowhere)
    declared = forward(kit, [TOKENS], interventions=[replaced(0, component, value)]).logits
    np.testing.assert_allclose(numbers(debugger.value), declared, atol=1e-5)
    assert np.abs(declared - forward(kit, [TOKENS]).logits).max() > 1e-3
    debugger.restart(kit.structure.layers - 1)
    debugger.step(nowhere)
    np.testing.assert_allclose(numbers(debugger.value), declared, atol=1e-5)
    debugger.restart(0)
    debugger.step(nowhere)
    np.testing.assert_allclose(numbers(debugger.value), forward(kit, [TOKENS]).logits, atol=1e-5)


def test_a_restart_runs_only_what_follows():
    kit = tiny_kit("llama")
    debugger = ForwardDebugger(kit, TOKENS)
    debugger.step(nowhere)
    logits = numbers(debugger.value)
    kit.model.layers[0].mlp.down_proj.weight = mx.full((32, 48), mx.nan)
    debugger.restart(1)
    debugger.step(nowhere)
    np.testing.assert_array_equal(numbers(debugger.value), logits)


@pytest.mark.parametrize("name", ["llama", "gpt_oss"])
def test_each_stop_shows_what_a_hook_captures_there(name: str):
    kit = tiny_kit(name)
    hooks = [ActivationHookSpec("*", c) for c in ("residual", "mlp", "attention_pattern", "query")]
    captured = forward(kit, [TOKENS], hooks).activations
    debugger = ForwardDebugger(kit, TOKENS)
    seen = {}
    while (stop := debugger.stop) is not None:
        seen[stop.point.default_id] = numbers(debugger.value)
        debugger.step(next_point)
    for hook_id, (record,) in captured.items():
        np.testing.assert_allclose(seen[hook_id], record.data, atol=1e-6)


def test_it_says_where_it_is_and_what_was_changed():
    debugger = ForwardDebugger(tiny_kit("llama"), TOKENS)
    assert (debugger.stop.point, debugger.layer) == (Point(None, C.EMBEDDING), 0)
    debugger.step(next_layer)
    assert (debugger.stop.point, debugger.layer) == (Point(0, C.RESIDUAL), 1)
    debugger.step(debugger.target("blocks.1.hook_mlp_out", None))
    assert (debugger.stop.point, debugger.layer) == (Point(1, C.MLP), 1)
    debugger.change(0 * numbers(debugger.value))
    assert [stop.point for stop in debugger.changed] == [Point(1, C.MLP)]
    assert not numbers(debugger.value).any()
    debugger.step(next_layer)
    assert (debugger.stop.point, debugger.layer) == (Point(1, C.RESIDUAL), None)
    debugger.step(next_layer)
    assert (debugger.stop, debugger.layer) == (None, None)
    debugger.restart(1)
    assert debugger.changed == []


def test_the_stream_in_the_middle_of_a_layer_is_what_was_added_so_far():
    kit = tiny_kit("llama")
    hooks = [ActivationHookSpec("1", "residual_mid"), ActivationHookSpec("0", "residual")]
    captured = forward(kit, [TOKENS], hooks).activations
    debugger = ForwardDebugger(kit, TOKENS)
    debugger.step(debugger.target("1", "attention"))
    np.testing.assert_array_equal(numbers(debugger.residual), captured["layer_0_residual"][0].data)
    debugger.step(debugger.target("1", "mlp"))
    np.testing.assert_array_equal(
        numbers(debugger.residual), captured["layer_1_residual_mid"][0].data
    )


def test_interventions_act_at_each_run():
    kit = tiny_kit("llama")
    zero = Intervention("0", "head_output", "ablation", heads=(1,))
    debugger = ForwardDebugger(kit, TOKENS, [zero])
    debugger.step(nowhere)
    whole = forward(kit, [TOKENS], interventions=[zero]).logits
    np.testing.assert_array_equal(numbers(debugger.value), whole)
    debugger.restart(1)
    debugger.step(nowhere)
    np.testing.assert_array_equal(numbers(debugger.value), whole)


# --- forks ----------------------------------------------------------------------------------


def test_a_fork_compares_two_whole_passes():
    kit = tiny_kit("llama")
    debugger = ForwardDebugger(kit, TOKENS)
    debugger.step(debugger.target("0", "mlp"))
    value = 3 * numbers(debugger.value)
    hooks = [ActivationHookSpec("*", "residual")]
    plain, other = (
        forward(kit, [TOKENS], hooks, interventions)
        for interventions in ([], [replaced(0, "mlp", value)])
    )
    found = fork(debugger, value)
    np.testing.assert_allclose(found.logits, [plain.logits[0, 0], other.logits[0, 0]], atol=1e-5)
    p, q = (np.exp(x) / np.exp(x).sum() for x in found.logits.astype(np.float64))
    assert found.divergence == pytest.approx((p * np.log(p / q)).sum(), rel=1e-5)
    for each in found.layers:
        a, b = (run.activations[f"layer_{each.layer}_residual"][0].data for run in (plain, other))
        assert each.distance == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-4)
        last = np.linalg.norm((b - a)[0, -1]) / np.linalg.norm(a[0, -1])
        assert each.last_distance == pytest.approx(last, rel=1e-4)
        stream = mx.array(np.concatenate([a[:, -1:], b[:, -1:]], axis=1))
        lens = np.array(kit.model.lm_head(kit.model.model.norm(stream)))[0]
        np.testing.assert_allclose(each.lens, lens, atol=1e-5)
        assert each.divergence == divergence(*each.lens)
    assert [each.layer for each in found.layers] == [0, 1]
    assert debugger.stop.point == Point(0, C.MLP)
    debugger.change(value)
    debugger.step(nowhere)
    np.testing.assert_allclose(fork(debugger, None).logits, found.logits, atol=1e-5)


def test_a_fork_needs_a_difference():
    debugger = ForwardDebugger(tiny_kit("llama"), TOKENS)
    with pytest.raises(InvalidRequestError, match="nothing was changed yet"):
        fork(debugger, None)


# --- what is refused ------------------------------------------------------------------------


def test_a_model_of_several_streams_is_refused_with_the_reason():
    with pytest.raises(UnknownComponentError, match="the block passes on several streams"):
        ForwardDebugger(tiny_kit("gemma3n"), TOKENS)


def test_what_cannot_be_done_is_said_and_moves_nothing():
    debugger = ForwardDebugger(tiny_kit("llama"), TOKENS)
    debugger.step(debugger.target("1", "attention"))
    stop = debugger.stop
    with pytest.raises(InvalidRequestError, match="mlp of layer 0 is not ahead"):
        debugger.target("0", "mlp")
    with pytest.raises(InvalidRequestError, match="names 2 places"):
        debugger.target("*", "mlp")
    with pytest.raises(InvalidRequestError, match="logits is no stop"):
        debugger.target("logits", None)
    with pytest.raises(UnknownComponentError, match="layer 1 has no router"):
        debugger.target("1", "router")
    with pytest.raises(UnknownLayerError, match="layers 0 to 1"):
        debugger.restart(2)
    with pytest.raises(InterventionError, match=r"attention of layer 1 has \[1, 8, 32\]"):
        debugger.change(np.zeros((1, 8), np.float32))
    assert debugger.stop == stop
    debugger.restart(0)
    with pytest.raises(UnknownLayerError, match="has not come to layer 1"):
        debugger.restart(1)
    debugger.step(nowhere)
    with pytest.raises(InvalidRequestError, match="at its end"):
        debugger.step(next_layer)
    with pytest.raises(InvalidRequestError, match="at its end"):
        debugger.change(np.zeros((1, 1, 96), np.float32))


def test_what_is_kept_is_counted_before_it_is_kept():
    def allow(nbytes: int) -> None:
        if nbytes > 3 * 8 * 32 * 4:
            raise CaptureTooLargeError(f"{nbytes}")

    debugger = ForwardDebugger(tiny_kit("llama"), TOKENS, allow=allow)
    debugger.step(debugger.target("1", "attention"))
    assert debugger.nbytes == 3 * 8 * 32 * 4  # two streams and the value
    with pytest.raises(CaptureTooLargeError):
        debugger.change(numbers(debugger.value))
    assert debugger.nbytes == 3 * 8 * 32 * 4
