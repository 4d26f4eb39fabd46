"""The field's names on the wire: wherever a layer or a component is asked for."""

import numpy as np
import pytest

from engine.components import WHOLE_MODEL
from engine.field_names import FIELD_NAMES
from tests.engine.server.conftest import LAYERS
from tests.engine.server.test_circuit_patching import PATH as CIRCUITS
from tests.engine.server.test_circuit_patching import TASK

FORWARD, HOOKS = "/v1/forward", "/v1/activations/hooks"
FORM = {"prompt": "once upon", "logits": "none", "top_k": 0, "activation_format": "array"}
ROWS = [(row, name) for row in FIELD_NAMES for name in row.names]


def record(server, **hook):
    reply = server.post(FORWARD, activation_hooks=[hook], **FORM)
    ((found,),) = reply["activations"].values()
    return found


@pytest.mark.parametrize(("row", "name"), ROWS, ids=[name for _, name in ROWS])
def test_each_name_of_the_table_is_the_same_tensor_as_the_component(server, row, name):
    is_whole = row.component in WHOLE_MODEL
    expected = record(
        server,
        layer_name="*" if is_whole else "1",
        component=row.component,
        capture_input=row.is_input,
        capture_output=not row.is_input,
    )
    full = name if is_whole else f"blocks.1.{name}"
    for hook in (
        {"layer_name": full},
        {"layer_name": "*" if is_whole else "1", "component": name},
        {"layer_name": full, "component": row.component},
    ):
        found = record(server, **hook)
        assert found["data"] == expected["data"]
        assert found["component"] == row.component
        assert found["is_input"] == row.is_input
        assert found["field_name"] == row.of_layer(1)[0]


@pytest.mark.parametrize(
    ("path", "component"),
    [("model.layers.1.mlp.down_proj", "mlp_hidden"), ("blocks.1.self_attn.o_proj", "head_output")],
)
def test_a_module_path_with_capture_input_is_what_the_module_is_given(server, path, component):
    found = record(server, layer_name=path, capture_input=True, capture_output=False)
    assert found["component"] == component
    assert found["data"] == record(server, layer_name="1", component=component)["data"]


def test_an_intervention_is_placed_by_a_name(server):
    def logits(**place):
        changes = [place | {"operation": "ablation"}]
        return server.post(FORWARD, **FORM | {"logits": "last", "interventions": changes})["logits"]

    by_name = logits(layer_name="blocks.1.attn.hook_z", heads=[2])
    assert by_name == logits(layer_name="1", component="head_output", heads=[2])
    assert by_name == logits(layer_name="1", component="attn.hook_z", heads=[2])
    assert logits(layer_name="blocks.1.hook_resid_pre") == logits(
        layer_name="0", component="hook_resid_post"
    )


def test_a_session_pauses_at_names(server):
    places = [
        {"layer_name": "blocks.1.hook_resid_pre"},
        {"layer_name": "blocks.1.attn.hook_z"},
        {"layer_name": "ln_final.hook_out"},
    ]
    state = server.post("/v1/sessions", breakpoints=places, breakpoint_format="array", **FORM)
    seen = []
    while state["state"] == "paused":
        seen.append(state["breakpoint"])
        state = server.post(f"/v1/sessions/{state['session_id']}")
    names = [stop["field_name"] for stop in seen]
    assert names == ["blocks.1.hook_resid_pre", "blocks.1.attn.hook_z", "ln_final.hook_out"]
    for stop in seen:
        expected = record(server, layer_name=stop["field_name"])
        np.testing.assert_array_equal(stop["data"], expected["data"])


def test_registered_hooks_are_named(server):
    try:
        ids = server.post(HOOKS, hooks=[{"layer_name": "blocks.*.hook_resid_pre"}])
        assert ids == {"registered_hooks": [f"layer_{n}_residual" for n in range(LAYERS)]}
        specs = [entry["spec"] for entry in server.get(HOOKS)["hooks"]]
        assert all(spec["capture_input"] and not spec["capture_output"] for spec in specs)
        server.http.delete(HOOKS)
        server.post(HOOKS, hooks=specs)
        assert [entry["spec"] for entry in server.get(HOOKS)["hooks"]] == specs
    finally:
        server.http.delete(HOOKS)


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("attn.hook_z", "head_output"),
        ("hook_mlp_out", "mlp"),
        ("hook_resid_post", "residual"),
        ("mlp.hook_post", "mlp_hidden"),
    ],
)
def test_circuits_are_asked_for_by_names(server, name, component):
    named, canonical = (
        server.post(CIRCUITS, **TASK, component=each, layers=[0]) for each in (name, component)
    )
    assert named == canonical


@pytest.mark.parametrize(
    ("hook", "kind", "message"),
    [
        (
            {"layer_name": "blocks.1.attn.hook_q", "component": "query"},
            "impossible",
            "is query_pre_rope",
        ),
        (
            {"layer_name": "blocks.1.hook_resid_pre", "capture_output": True},
            "impossible",
            "names one value",
        ),
        ({"layer_name": "1"}, "unknown_component", "there are embedding, residual"),
        ({"layer_name": "1", "component": "mlp.heart"}, "unknown_component", "hook_resid_pre"),
    ],
)
def test_names_that_disagree_or_do_not_exist_are_refused(server, hook, kind, message):
    error = server.error(FORWARD, 422, activation_hooks=[hook], **FORM)
    assert error["type"] == kind
    assert message in error["message"]
