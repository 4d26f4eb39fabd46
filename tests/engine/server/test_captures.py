"""Captures are kept up to a byte budget, and none disappears without a reason."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from engine.captures.records import CapturedActivation
from engine.components import ComponentType
from engine.errors import CaptureTooLargeError
from engine.server.errors import UnknownCaptureError
from engine.server.state.captures import CaptureStore, new_capture
from tests.engine.server.conftest import running

BYTES = 2 * 3 * 4


def record(step=0, **changes):
    data = np.random.default_rng(step).standard_normal((2, 3)).astype(np.float32)
    return replace(
        CapturedActivation(
            hook_id="h",
            layer_name="0",
            layer=0,
            component=ComponentType.RESIDUAL,
            step=step,
            positions=(0, 1),
            is_input=False,
            dtype="float32",
            data=data,
        ),
        **changes,
    )


def capture(*records):
    return replace(new_capture("m"), activations={"h": list(records or [record()])})


def test_the_oldest_is_dropped_first_and_its_404_says_so():
    store = CaptureStore(budget_bytes=2 * BYTES)
    first, second, third = (capture() for _ in range(3))
    for each in (first, second, third):
        store.add(each)
    assert store.all() == [second, third]
    assert store.nbytes == 2 * BYTES
    with pytest.raises(UnknownCaptureError, match=f"dropped.*{2 * BYTES} bytes"):
        store.get(first.capture_id)


def test_one_that_alone_passes_the_budget_is_refused_and_drops_nothing():
    store = CaptureStore(budget_bytes=BYTES)
    kept = capture()
    store.add(kept)
    with pytest.raises(CaptureTooLargeError, match=str(2 * BYTES)):
        store.add(capture(record(0), record(1)))
    assert store.all() == [kept]


def test_a_forgotten_one_frees_its_bytes_and_says_who_removed_it():
    store = CaptureStore(budget_bytes=BYTES)
    kept = capture()
    store.add(kept)
    store.forget(kept.capture_id)
    assert store.nbytes == 0
    with pytest.raises(UnknownCaptureError, match="deleted on request"):
        store.forget(kept.capture_id)


def test_one_that_never_was_is_called_that():
    with pytest.raises(UnknownCaptureError, match="never made"):
        CaptureStore(budget_bytes=1).get("cap-x")


def test_the_number_kept_is_bounded_too(monkeypatch):
    monkeypatch.setattr("engine.server.state.captures.MOST", 3)
    store = CaptureStore(budget_bytes=BYTES)
    empty = [replace(new_capture("m")) for _ in range(5)]
    for each in empty:
        store.add(each)
    assert store.all() == empty[2:]


def test_over_the_budget_they_move_to_the_spill_folder_and_stay_readable(tmp_path):
    store = CaptureStore(budget_bytes=BYTES, folder=tmp_path / "spilled")
    first = capture(record(3, is_input=True, hook_id="a/b"))
    store.add(first)
    store.add(capture())
    assert store.nbytes == BYTES
    (file,) = (tmp_path / "spilled").iterdir()
    assert file.name == f"{first.capture_id}.safetensors"
    expected = first.activations["h"][0].data
    np.testing.assert_array_equal(load_file(file)["a/b/3/input"], expected)
    (read,) = store.get(first.capture_id).activations["h"]
    np.testing.assert_array_equal(read.data, expected)
    store.forget(first.capture_id)
    assert list((tmp_path / "spilled").iterdir()) == []


def test_spilled_tensors_travel_as_kept_ones_do(tiny_model, tmp_path):
    hook = {"layer_name": "*", "component": "residual"}
    with running(tiny_model, capture_bytes=4000, spill_folder=tmp_path) as server:
        asked = {"prompt": "hello", "activation_hooks": [hook], "logits": "none"}
        first = server.post("/v1/forward", **asked, activation_format="reference")["capture_id"]
        before = server.http.get(f"/v1/activations/{first}/tensors").content
        for _ in range(3):
            server.post("/v1/forward", **asked)
        assert list(tmp_path.iterdir())
        assert server.http.get(f"/v1/activations/{first}/tensors").content == before
        patch = {
            "layer_name": "0",
            "component": "residual",
            "operation": "patching",
            "capture_id": first,
            "hook_id": "layer_0_residual",
        }
        server.post("/v1/forward", **asked, interventions=[patch])


def test_a_capture_over_the_budget_fails_its_request_with_507(tiny_model):
    hook = {"layer_name": "*", "component": "residual"}
    with running(tiny_model, capture_bytes=1000) as server:
        error = server.error(
            "/v1/completions/with_activations", 507, prompt="hello", activation_hooks=[hook]
        )
        assert error["type"] == "capture_too_large"
        assert "1000" in error["message"]
        assert server.error("/v1/forward", 507, prompt="hello")["type"] == "capture_too_large"
