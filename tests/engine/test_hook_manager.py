"""Registered hooks: the interface of the seeds."""

import base64

import numpy as np
import pytest
from tiny import PROMPT, tiny_kit

from engine.captures.hooks import ActivationHookSpec
from engine.captures.serialization import serialize_activations
from engine.components import ComponentType as C
from engine.errors import DuplicateHookError, InvalidRequestError, UnknownHookError
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations


@pytest.fixture
def kit():
    return tiny_kit("llama")


def test_a_registered_hook_captures_on_every_later_run_until_it_is_removed(kit):
    hook_id = kit.register_activation_hook(ActivationHookSpec("1", C.MLP))
    assert hook_id == "layer_1_mlp"
    forward(kit, [PROMPT])
    list(create_generator_with_activations(kit, PROMPT, max_tokens=3))
    records = kit.get_captured_activations()[hook_id]
    assert [record.step for record in records] == [0, 0, 1, 2]
    kit.unregister_activation_hook(hook_id)
    assert kit.get_captured_activations() == {}
    assert forward(kit, [PROMPT]).activations == {}


def test_what_a_registered_hook_captures_is_answered_by_the_run_too(kit):
    kit.register_activation_hook(ActivationHookSpec("1", C.MLP))
    result = forward(kit, [PROMPT], [ActivationHookSpec("0", C.MLP)])
    assert sorted(result.activations) == ["layer_0_mlp", "layer_1_mlp"]
    (kept,) = kit.get_captured_activations()["layer_1_mlp"]
    assert kept is result.activations["layer_1_mlp"][0]
    assert "layer_0_mlp" not in kit.get_captured_activations()


def test_clearing_captures_keeps_the_hooks(kit):
    kit.register_activation_hook(ActivationHookSpec("1", C.MLP))
    forward(kit, [PROMPT])
    kit.clear_captured_activations()
    assert kit.get_captured_activations() == {}
    forward(kit, [PROMPT])
    assert len(kit.get_captured_activations()["layer_1_mlp"]) == 1


def test_clearing_hooks_removes_them_all(kit):
    kit.register_activation_hook(ActivationHookSpec("*", C.MLP))
    kit.register_activation_hook(ActivationHookSpec("logits", C.LOGITS))
    kit.clear_activation_hooks()
    assert forward(kit, [PROMPT]).activations == {}


def test_one_specification_for_several_layers_is_removed_by_one_id(kit):
    hook_id = kit.register_activation_hook(ActivationHookSpec("0-1", C.MLP))
    forward(kit, [PROMPT])
    assert sorted(kit.get_captured_activations()) == ["layer_0_mlp", "layer_1_mlp"]
    kit.unregister_activation_hook(hook_id)
    assert forward(kit, [PROMPT]).activations == {}


def test_an_id_that_is_taken_is_refused(kit):
    kit.register_activation_hook(ActivationHookSpec("1", C.MLP))
    with pytest.raises(DuplicateHookError, match="layer_1_mlp"):
        kit.register_activation_hook(ActivationHookSpec("*", C.MLP))
    with pytest.raises(DuplicateHookError, match="layer_1_mlp"):
        forward(kit, [PROMPT], [ActivationHookSpec("1", C.MLP)])
    assert sorted(forward(kit, [PROMPT]).activations) == ["layer_1_mlp"]


def test_an_id_that_is_not_registered_is_refused_and_those_that_are_are_named(kit):
    kit.register_activation_hook(ActivationHookSpec("1", C.MLP))
    with pytest.raises(UnknownHookError, match="registered are layer_1_mlp"):
        kit.unregister_activation_hook("layer_9_mlp")


def test_records_serialise_to_lists_to_base64_and_to_metadata(kit):
    hooks = [
        ActivationHookSpec("1", C.ATTENTION_SCORES),
        ActivationHookSpec("1", C.MLP, dtype="bfloat16"),
    ]
    activations = forward(kit, [PROMPT[:3]], hooks).activations
    (scores,), (mlp,) = activations.values()
    as_lists = serialize_activations(activations, "array")
    as_base64 = serialize_activations(activations, "base64")
    metadata = serialize_activations(activations, "metadata")
    np.testing.assert_array_equal(as_lists["layer_1_attention_scores"][0]["data"], scores.data)
    raw = base64.b64decode(as_base64["layer_1_mlp"][0]["data_base64"])
    np.testing.assert_array_equal(np.frombuffer(raw, "<u2").reshape(mlp.shape), mlp.data)
    widened = np.array(as_lists["layer_1_mlp"][0]["data"], np.float32)
    np.testing.assert_array_equal(widened.view(np.uint32) >> 16, mlp.data)
    assert metadata["layer_1_mlp"] == [
        {
            "hook_id": "layer_1_mlp",
            "layer_name": "model.layers.1",
            "layer": 1,
            "component": "mlp",
            "field_name": "blocks.1.hook_mlp_out",
            "step": 0,
            "positions": [0, 2],
            "position_list": None,
            "shape": [1, 3, 32],
            "dtype": "bfloat16",
            "byte_order": "little",
            "is_input": False,
        }
    ]


def test_a_format_that_does_not_exist_is_refused(kit):
    activations = forward(kit, [PROMPT], [ActivationHookSpec("1", C.MLP)]).activations
    with pytest.raises(InvalidRequestError, match="array, base64, metadata"):
        serialize_activations(activations, "csv")
