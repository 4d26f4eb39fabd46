"""Captures in NeuroScope's layout, and back."""

import base64
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from bridge.errors import InvalidRecordError
from bridge.neuroscope import NeuroScopeActivationBridge as Bridge
from bridge.wire import from_safetensors

VALUES = [1.5, -2.25, 3.0, 0.1, -0.0, 1e-30]


def record(**data) -> dict:
    return {
        "hook_id": "layer_5_residual",
        "layer_name": "model.layers.5",
        "layer": 5,
        "component": "residual",
        "field_name": "blocks.5.hook_resid_post",
        "step": 0,
        "positions": [0, 1],
        "shape": [1, 2, 3],
        "dtype": "float32",
        "byte_order": "little",
        "is_input": False,
        **data,
    }


def test_circuit_analysis_hooks_are_the_embedding_then_each_component_of_each_layer():
    hooks = Bridge.create_hook_specs_for_circuit_analysis(2)
    assert [hook["hook_id"] for hook in hooks] == [
        "embedding_output",
        *(f"layer_{n}_{name}" for n in (0, 1) for name in ("residual", "attention", "mlp")),
    ]
    assert hooks[4]["layer_name"] == "transformer.h.1"


def test_attention_hooks_cover_only_the_target_layers():
    hooks = Bridge.create_attention_analysis_hooks(24, [5, 10])
    assert {hook["layer_name"] for hook in hooks} == {"transformer.h.5", "transformer.h.10"}
    assert {"attention_scores", "query", "key", "value"} <= {hook["component"] for hook in hooks}


def test_a_target_layer_that_the_model_lacks_is_named():
    with pytest.raises(ValueError, match=r"\[24\] are outside 0 to 23"):
        Bridge.create_attention_analysis_hooks(24, [5, 24])


@pytest.mark.parametrize(
    "data",
    [
        {"data": [[VALUES[:3], VALUES[3:]]]},
        {"data_base64": base64.b64encode(struct.pack("<6f", *VALUES)).decode()},
        {"tensor": "t"},
    ],
    ids=["array", "base64", "reference"],
)
def test_every_wire_form_becomes_the_same_single_precision_tensor(data):
    expected = np.array(VALUES, "f4").reshape(1, 2, 3)
    tensors = {"t": expected}
    converted = Bridge.convert_activations_for_neuroscope({"h": [record(**data)]}, tensors)
    assert converted["h"][0]["data"].dtype == np.float32
    np.testing.assert_array_equal(converted["h"][0]["data"], expected)


def test_records_go_to_neuroscope_and_back_bit_for_bit():
    sent = record(data_base64=base64.b64encode(struct.pack("<6f", *VALUES)).decode())
    converted = Bridge.convert_activations_for_neuroscope({"h": [sent]})
    assert Bridge.convert_activations_from_neuroscope(converted) == {"h": [sent]}


def test_bfloat16_widens_to_the_float32_with_the_same_upper_bits():
    bits = np.array([0x3FC0, 0xC010, 0x7F7F], "<u2")
    sent = record(
        dtype="bfloat16", shape=[3], data_base64=base64.b64encode(bits.tobytes()).decode()
    )
    converted = Bridge.convert_activations_for_neuroscope({"h": [sent]})["h"][0]
    assert converted["dtype"] == "float32"
    np.testing.assert_array_equal(converted["data"].view("<u4") >> 16, bits)


def test_a_record_without_data_is_refused_by_name():
    with pytest.raises(InvalidRecordError, match="'layer_5_residual' contains no data"):
        Bridge.convert_activations_for_neuroscope({"h": [record()]})


def test_data_that_does_not_fill_its_shape_is_refused():
    short = base64.b64encode(struct.pack("<5f", *VALUES[:5])).decode()
    with pytest.raises(InvalidRecordError, match=r"5 values do not fill the shape \[1, 2, 3\]"):
        Bridge.convert_activations_for_neuroscope({"h": [record(data_base64=short)]})


def test_safetensors_bodies_decode_by_name():
    array = np.arange(6, dtype="f4").reshape(2, 3)
    half = array.astype("f2")
    decoded = from_safetensors(save({"a": array, "b": half}))
    np.testing.assert_array_equal(decoded["a"], array)
    np.testing.assert_array_equal(decoded["b"], half)
