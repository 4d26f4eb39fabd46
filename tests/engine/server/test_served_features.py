"""Feature sets over HTTP: loaded, hooked, changed, measured, unloaded."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from features.made import random_cross_layer, random_set
from safetensors.numpy import load

from bridge.wire import from_record
from engine.components import ComponentType as C
from engine.features.bound import BoundSet
from engine.features.feature_set import FeatureSet
from engine.features.formats import circuit_tracer, sae_lens
from engine.features.interventions import FeatureIntervention
from engine.features.quality import measure
from engine.runs.forward import forward
from engine.taps.points import Point
from tests.engine.server.conftest import HIDDEN, LAYERS, Server, running

PROMPT = "once upon"


@pytest.fixture(scope="module")
def sets(tiny_model: Path) -> Path:
    """A folder of sets below the root of the models."""
    folder = tiny_model.parent / "sets"
    sae_lens.save(random_set(HIDDEN, Point(1, C.RESIDUAL)), folder / "sae")
    circuit_tracer.save(random_cross_layer(HIDDEN, LAYERS), folder / "across")
    for layer in range(2):
        each = random_set(HIDDEN, Point(layer, C.MLP, True), Point(layer, C.MLP))
        sae_lens.save(each, folder / "many" / f"layer_{layer}")
    return folder


@pytest.fixture(scope="module")
def served(server: Server, sets: Path) -> Server:
    """The server with the set ``sae`` loaded."""
    server.post("/v1/features/load", features_path=str(sets / "sae"))
    return server


def reference(server: Server, set_id: str = "sae") -> tuple[FeatureSet, BoundSet]:
    bound = server.service.models.get(None).feature_sets.get(set_id)
    assert isinstance(bound.feature_set, FeatureSet)
    return bound.feature_set, bound


def test_a_logit_is_taken_apart_by_features(served: Server) -> None:
    body = {"prompt": PROMPT, "answer": 5, "by": "feature", "top_k": 3}
    found = served.post("/v1/logit_attribution", feature_sets=["sae"], **body)
    listed = [term for term in found["terms"] if term["part"] == "feature"]
    assert [term["feature_set"] for term in listed] == ["sae"] * 3
    on = features(served, residual(served)[0, -1])
    assert all(on[term["index"]] > 0 for term in listed)
    assert abs(found["error"]) < 1e-4
    served.error("/v1/logit_attribution", 404, feature_sets=["none"], **body)
    served.error("/v1/logit_attribution", 422, **body)


def residual(server: Server, prompt: str = PROMPT) -> np.ndarray:
    hook = {"layer_name": "1", "component": "residual"}
    body = {"activation_hooks": [hook], "activation_format": "array"}
    reply = server.post("/v1/forward", prompt=prompt, **body)
    return np.array(reply["activations"]["layer_1_residual"][0]["data"], np.float32)


def features(server: Server, x: np.ndarray) -> np.ndarray:
    encoder = reference(server)[0].encoder
    return np.maximum(x @ np.array(encoder.weight).T + np.array(encoder.bias), 0)


def dense(record: dict) -> np.ndarray:
    """All features of a record with lists."""
    found = np.zeros(record["shape"], np.float32)
    for sequence, (indices, values) in enumerate(
        zip(record["indices"], record["values"], strict=True)
    ):
        for position, each in enumerate(indices):
            found[sequence, position, each] = values[position]
    return found


def test_what_is_loaded_is_listed(served, sets):
    served.post("/v1/features/load", features_path=str(sets / "sae"))  # again, which is the same
    entry, *_ = served.get("/v1/features")["feature_sets"]
    assert entry["id"] == "sae"
    assert entry["reads"] == entry["writes"] == ["blocks.1.hook_resid_post"]
    assert (entry["d_in"], entry["n_features"], entry["layers"]) == (HIDDEN, 40, [1])
    assert entry["bytes"] == 4 * (2 * 40 * HIDDEN + 40 + HIDDEN)
    assert entry["metadata"]["hook_name"] == "blocks.1.hook_resid_post"


def test_a_folder_of_many_layers_is_as_many_sets_until_they_are_unloaded(served, sets):
    body = {"features_path": str(sets), "subfolder": "many"}
    loaded = served.post("/v1/features/load", **body)["feature_sets"]
    assert [each["id"] for each in loaded] == ["many_layer_0", "many_layer_1"]
    assert loaded[1]["reads"] == ["blocks.1.mlp.hook_in"]
    for each in loaded:
        served.post("/v1/features/unload", feature_set=each["id"])
    known = {each["id"] for each in served.get("/v1/features")["feature_sets"]}
    assert "sae" in known
    assert not {"many_layer_0", "many_layer_1"} & known


def test_the_three_forms_of_a_record_say_the_same(served):
    expected = features(served, residual(served))
    hooks = [{"feature_set": "sae"}]
    body = {"prompt": PROMPT, "activation_hooks": hooks}
    reply = served.post("/v1/forward", **body, activation_format="array")
    (record,) = reply["activations"]["sae"]
    assert record["shape"] == list(expected.shape)
    assert record["feature_set"] == "sae"
    np.testing.assert_allclose(dense(record), expected, atol=1e-5)

    (coded,) = served.post("/v1/forward", **body)["activations"]["sae"]
    arrays = {
        name: np.frombuffer(base64.b64decode(coded[f"{name}_base64"]), kind)
        for name, kind in (("indices", "<i4"), ("values", "<f4"), ("offsets", "<i4"))
    }
    raw = served.http.get(f"/v1/activations/{reply['capture_id']}/tensors").content
    kept = load(raw)
    manifest = served.get(f"/v1/activations/{reply['capture_id']}")["activations"]
    (kept_record,) = manifest["sae"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(kept[f"sae/0/{name}"], array)
    for each, tensors in ((record, {}), (coded, {}), (kept_record, kept)):
        np.testing.assert_array_equal(from_record(each, tensors), dense(record))
    flat = [number for each in record["indices"][0] for number in each]
    assert arrays["indices"].tolist() == flat
    assert arrays["offsets"][-1] == len(flat)


def test_chosen_features_and_positions_alone(served):
    hook = {"feature_set": "sae", "features": [5, 2], "positions": [-1, 0], "hook_id": "few"}
    reply = served.post(
        "/v1/forward", prompt=PROMPT, activation_hooks=[hook], activation_format="array"
    )
    (record,) = reply["activations"]["few"]
    expected = features(served, residual(served))[:, [-1, 0]]
    expected[:, :, [n for n in range(40) if n not in (2, 5)]] = 0
    np.testing.assert_allclose(dense(record), expected, atol=1e-5)


def test_a_completion_and_its_stream_have_the_features_of_each_step(served):
    body = {
        "prompt": PROMPT,
        "max_tokens": 3,
        "activation_hooks": [{"feature_set": "sae"}],
        "activation_format": "array",
    }
    path = "/v1/completions/with_activations"
    whole = served.post(path, **body)["activations"]["sae"]
    assert [record["step"] for record in whole] == [0, 1, 2]
    streamed = []
    with served.http.stream("POST", path, json=body | {"stream": True}) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                streamed += json.loads(line[6:]).get("activations", {}).get("sae", [])
    assert streamed == whole
    chat = {**body, "messages": [{"role": "user", "content": "hi"}]}
    del chat["prompt"]
    reply = served.post("/v1/chat/completions/with_activations", **chat)
    assert [record["step"] for record in reply["activations"]["sae"]] == [0, 1, 2]


def test_a_registered_hook_holds_its_set(served):
    hook = {"feature_set": "sae", "features": [3], "hook_id": "third"}
    served.post("/v1/activations/hooks", hooks=[hook])
    (entry,) = served.get("/v1/activations/hooks")["hooks"]
    assert (entry["spec"]["feature_set"], entry["spec"]["features"]) == ("sae", [3])
    error = served.error("/v1/features/unload", 422, feature_set="sae")
    assert "third; remove them first" in error["message"]
    reply = served.post("/v1/completions", prompt=PROMPT, max_tokens=1)
    capture = served.get(f"/v1/activations/{reply['capture_id']}")
    assert capture["activations"]["third"][0]["tensor"] == "third/0"
    served.http.delete("/v1/activations/hooks/third")


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"operation": "ablation"}, {"operation": "ablation"}),
        ({"operation": "scaling", "factor": 3.0}, {"operation": "scaling", "factor": 3.0}),
        (
            {"operation": "addition", "value": {"shape": [1], "data": [4.0]}, "positions": [-1]},
            {"operation": "addition", "value": np.array([4.0]), "positions": (-1,)},
        ),
    ],
)
def test_changes_of_features_are_those_of_the_engine(served, sent, meant):
    bound = reference(served)[1]
    spec = {"feature_set": "sae", "features": [4, 9], **sent}
    body = {"logits": "all", "activation_format": "array"}
    reply = served.post("/v1/forward", prompt=PROMPT, interventions=[spec], **body)
    model = served.service.models.get(None)
    tokens = served.post("/v1/tokenize", text=PROMPT)["tokens"]
    change = FeatureIntervention(bound, features=(4, 9), **meant)
    expected = served.service.worker.call(
        lambda job: forward(model.kit, [tokens], (), [change], logits="all").logits
    )
    np.testing.assert_array_equal(np.array(reply["logits"]["data"], np.float32), expected)
    debugged = served.post("/v1/debug_sessions", prompt=PROMPT, interventions=[spec])
    served.http.delete(f"/v1/debug_sessions/{debugged['session_id']}")


def test_a_cross_layer_transcoder_is_hooked_and_changed_by_layer(server, sets):
    server.post("/v1/features/load", features_path=str(sets / "across"), feature_set="clt")
    hooks = [{"feature_set": "clt"}, {"feature_set": "clt", "layer_name": "2", "hook_id": "two"}]
    change = {"feature_set": "clt", "layer_name": "0", "features": [1], "operation": "ablation"}
    reply = server.post(
        "/v1/forward", prompt=PROMPT, activation_hooks=hooks, interventions=[change]
    )
    names = [f"clt_layer_{layer}" for layer in range(LAYERS)]
    assert sorted(reply["activations"]) == [*names, "two"]
    one = change | {"layer_name": None}
    error = server.error("/v1/forward", 422, prompt=PROMPT, interventions=[one])
    assert "needs a layer, one of 0, 1, 2" in error["message"]


def test_metrics_are_those_of_the_engine(served):
    bound = reference(served)[1]
    prompts = [PROMPT, "upon a time"]
    reply = served.post("/v1/features/metrics", feature_set="sae", prompts=prompts)
    model = served.service.models.get(None)
    tokens = [served.post("/v1/tokenize", text=each)["tokens"] for each in prompts]
    quality = served.service.worker.call(lambda job: measure(model.kit, bound, tokens))
    assert reply["loss_recovered"] == quality.loss_recovered
    assert reply["layers"][0]["explained_variance"] == quality.layers[0].explained_variance
    assert reply["positions"] == sum(map(len, tokens))


def test_features_that_were_moved_to_a_file_are_read_from_there(tiny_model, sets, tmp_path):
    with running(
        tiny_model,
        model_roots=(tiny_model.parent,),
        capture_bytes=4_000,
        spill_folder=tmp_path / "spilled",
    ) as server:
        server.post("/v1/features/load", features_path=str(sets / "sae"))
        body = {"prompt": PROMPT, "activation_hooks": [{"feature_set": "sae"}], "logits": "none"}
        first = server.post("/v1/forward", **body, activation_format="reference")
        path = f"/v1/activations/{first['capture_id']}"
        tensors = server.http.get(f"{path}/tensors").content
        manifest = server.get(path)["activations"]
        for _ in range(4):
            server.post("/v1/forward", **body)
        assert list((tmp_path / "spilled").glob(f"{first['capture_id']}*"))
        again = load(server.http.get(f"{path}/tensors").content)
        for name, array in load(tensors).items():
            np.testing.assert_array_equal(again[name], array)
        assert server.get(path)["activations"] == manifest


@pytest.mark.parametrize(
    ("body", "status", "kind", "says"),
    [
        ({"features_path": "/etc"}, 403, "forbidden", "not below a folder"),
        ({"subfolder": "../.."}, 403, "forbidden", "is not inside of"),
        ({"subfolder": "nothing"}, 422, "unusable_feature_set", "has no folder 'nothing'"),
        (
            {"subfolder": "across", "feature_set": "sae"},
            422,
            "impossible",
            "'sae' is loaded already",
        ),
        (
            {"subfolder": "sae", "feature_set": "x", "hook_name": "blocks.9.hook_resid_post"},
            422,
            "unusable_feature_set",
            "x does not fit the model: there is no value of residual of layer 9",
        ),
        (
            {"subfolder": "sae", "feature_set": "x", "hook_name": "blocks.1.mlp.hook_post"},
            422,
            "unusable_feature_set",
            "it reads 32 numbers a position, and the mlp_hidden of layer 1 has 64",
        ),
        ({"subfolder": "many", "hook_name": "hook_embed"}, 422, "unusable_feature_set", "for one"),
    ],
)
def test_what_cannot_be_loaded_is_refused(served, sets, body, status, kind, says):
    error = served.error("/v1/features/load", status, **{"features_path": str(sets), **body})
    assert (error["type"], says in error["message"]) == (kind, True), error


@pytest.mark.parametrize(
    ("field", "spec", "status", "says"),
    [
        (
            "activation_hooks",
            {"feature_set": "no"},
            404,
            "set 'no' is loaded; loaded: sae",
        ),
        ("activation_hooks", {"feature_set": "sae", "features": [40]}, 422, "features 0 to 39"),
        ("activation_hooks", {"feature_set": "sae", "heads": [1]}, 422, "does not go with"),
        ("activation_hooks", {"feature_set": "sae", "layer_name": "0"}, 422, "has no layer 0"),
        ("activation_hooks", {"layer_name": "1", "features": [1]}, 422, "go with feature_set"),
        ("activation_hooks", {"hook_id": "x"}, 400, "give layer_name or feature_set"),
        ("interventions", {"operation": "ablation"}, 400, "give layer_name or feature_set"),
        (
            "interventions",
            {"feature_set": "sae", "operation": "noise", "features": [1]},
            422,
            "'noise' of features is none of",
        ),
        (
            "interventions",
            {"layer_name": "1", "component": "mlp", "operation": "splicing"},
            422,
            "unknown operation 'splicing'",
        ),
    ],
)
def test_what_cannot_be_hooked_or_changed_is_refused(served, field, spec, status, says):
    error = served.error("/v1/forward", status, prompt=PROMPT, **{field: [spec]})
    assert says in error["message"], error
