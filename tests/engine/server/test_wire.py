"""Records keep their numbers on every way over the wire."""

import base64
import json

import numpy as np
import orjson
import pytest
from safetensors import deserialize

from engine.contract.schemas import TensorValue
from engine.errors import EngineError
from engine.server.wire import records as wire_records
from engine.server.wire import safetensors_body
from engine.server.wire.json_text import PIECE, Base64, json_pieces, json_text
from engine.server.wire.safetensors_body import tensors
from tests.engine.server.test_captures import record

VALUES = np.array([[1.5, -2.25, 3e-3], [0, 65504, -1e-8]], np.float32)
BFLOAT = (VALUES.view(np.uint32) >> 16).astype(np.uint16)
WIDENED = (BFLOAT.astype(np.uint32) << 16).view(np.float32)
FORMS = [
    ("float32", VALUES, VALUES),
    ("float16", VALUES.astype(np.float16), VALUES.astype(np.float16)),
    ("bfloat16", BFLOAT, WIDENED),
]


@pytest.mark.parametrize(("dtype", "data", "numbers"), FORMS)
def test_lists_hold_the_numbers(dtype, data, numbers):
    sent = orjson.loads(
        json_text(wire_records.record_json(record(dtype=dtype, data=data), "array"))
    )
    np.testing.assert_array_equal(np.asarray(sent["data"], numbers.dtype), numbers)


@pytest.mark.parametrize(("dtype", "data", "numbers"), FORMS)
def test_base64_holds_the_bytes_little_endian_and_row_major(dtype, data, numbers):
    sent = orjson.loads(
        json_text(wire_records.record_json(record(dtype=dtype, data=data), "base64"))
    )
    assert base64.b64decode(sent["data_base64"]) == data.tobytes()
    assert (sent["dtype"], sent["shape"], sent["byte_order"]) == (dtype, [2, 3], "little")


@pytest.mark.parametrize(("dtype", "data", "numbers"), FORMS)
def test_the_safetensors_body_is_read_by_the_library(dtype, data, numbers):
    size, pieces = safetensors_body.body(tensors([record(dtype=dtype, data=data)]), {"model": "m"})
    body = b"".join(pieces)
    assert len(body) == size
    ((name, entry),) = deserialize(body)
    assert (name, entry["shape"]) == ("h/0", [2, 3])
    assert entry["dtype"] == {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    assert bytes(entry["data"]) == data.tobytes()


def test_the_safetensors_header_is_aligned_and_names_the_model():
    head = safetensors_body.header(tensors([record()]), {"model": "m"})
    length = int.from_bytes(head[:8], "little")
    assert len(head) == 8 + length
    assert len(head) % 8 == 0
    assert json.loads(head[8:])["__metadata__"] == {"model": "m"}


def test_arrays_are_handed_on_without_a_copy():
    kept = record()
    _, pieces = safetensors_body.body(tensors([kept]), {})
    next(pieces)
    assert np.shares_memory(np.frombuffer(next(pieces), np.float32), kept.data)


def test_views_that_skip_memory_are_sent_in_order():
    data = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    _, pieces = safetensors_body.body(tensors([record(data=data)]), {})
    assert b"".join(list(pieces)[1:]) == data.tobytes()
    sent = wire_records.record_json(record(data=data), "base64")
    assert base64.b64decode(orjson.loads(json_text(sent))["data_base64"]) == data.tobytes()


def test_a_masked_score_is_null_in_lists():
    data = np.array([[1, -np.inf]], np.float32)
    sent = orjson.loads(json_text(wire_records.record_json(record(data=data), "array")))
    assert sent["data"] == [[1.0, None]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_lists_refuse_what_json_cannot_say(value):
    data = np.array([[1, value]], np.float32)
    with pytest.raises(EngineError, match=r"'h'.*base64"):
        wire_records.record_json(record(data=data), "array")


def test_reference_names_the_tensor_and_metadata_nothing():
    kept = record(step=4, is_input=True)
    assert wire_records.record_json(kept, "reference")["tensor"] == "h/4/input"
    assert not {"data", "data_base64", "tensor"} & wire_records.record_json(kept, "metadata").keys()


def test_the_visits_of_a_looped_layer_have_tensors_of_their_own():
    first, second = record(step=4), record(step=4, visit=1)
    names = [
        name
        for name, _ in deserialize(b"".join(safetensors_body.body(tensors([first, second]), {})[1]))
    ]
    assert sorted(names) == ["h/4", "h/4/visit1"]


@pytest.mark.parametrize(
    "value",
    [
        {"data": VALUES.tolist()},
        {"data": VALUES.ravel().tolist()},
        {"data_base64": base64.b64encode(VALUES.tobytes()).decode()},
        {"data_base64": base64.b64encode(BFLOAT.tobytes()).decode(), "dtype": "bfloat16"},
    ],
)
def test_a_tensor_that_a_client_sends_is_read(value):
    array = wire_records.tensor_array(TensorValue(shape=[2, 3], **value), "value")
    expected = WIDENED if value.get("dtype") == "bfloat16" else VALUES
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"data": [1, 2]}, "2 values do not fill"),
        ({"data": [[1], [2, 3]]}, "ragged"),
        ({"data": ["one"] * 6}, "numbers"),
        ({"data": ["1", 2, 3, 4, 5, 6]}, "numbers"),
        ({"data": [True] * 6}, "numbers"),
        ({"data": [1.5, True, 3, 4, 5, 6]}, "numbers"),
        ({"data": [None, [], 3, 4, 5, 6]}, "numbers"),
        ({"data": [1, 2, 3, 4, 5, 1e39]}, "beyond float32"),
        ({"data": [1, 2, 3, 4, 5, 10**40]}, "beyond float32"),
        ({"data": [1, 2, 3, 4, 5, 10**400]}, "beyond float32"),
        ({"data": [None, "1", 3, 4, 5, 6]}, "numbers"),
        ({"data_base64": "AAAA"}, "float32"),
        ({"data_base64": "not base64!"}, "float32"),
    ],
)
def test_a_tensor_that_is_none_is_refused_with_the_reason(value, words):
    with pytest.raises(EngineError, match=words):
        wire_records.tensor_array(TensorValue(shape=[2, 3], **value), "value")


def test_masked_scores_come_back_from_lists_as_they_went():
    sent = TensorValue(shape=[2, 2], data=[[0.5, None], [1, 10**20]])
    expected = np.array([[0.5, -np.inf], [1, 1e20]], np.float32)
    np.testing.assert_array_equal(wire_records.tensor_array(sent, "value"), expected)


@pytest.mark.parametrize("size", [0, 1, 2, 3, PIECE, PIECE + 1, 2 * PIECE - 1])
def test_json_in_pieces_is_as_long_as_it_says_and_whole(size):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    length, pieces = json_pieces({"a": Base64(data), "b": [Base64(data), "\0"], "c": data[:2]})
    text = b"".join(pieces)
    assert len(text) == length
    sent = json.loads(text)
    assert base64.b64decode(sent["a"]) == base64.b64decode(sent["b"][0]) == data.tobytes()
    assert (sent["b"][1], sent["c"]) == ("\0", data[:2].tolist())
