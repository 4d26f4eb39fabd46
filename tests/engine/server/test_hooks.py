"""Registered hooks capture on every later generation of their model until removed."""

import numpy as np
import pytest

from tests.engine.server.conftest import HIDDEN, LAYERS, running

HOOKS = "/v1/activations/hooks"
SPEC = {"layer_name": "1", "component": "residual", "hook_id": "middle"}


@pytest.fixture(autouse=True)
def no_hooks_left(server):
    yield
    server.http.delete(HOOKS)


def test_they_are_registered_listed_and_removed_one_by_one(server):
    answer = server.post(HOOKS, hooks=[{"layer_name": "*", "component": "mlp"}])
    ids = [f"layer_{n}_mlp" for n in range(LAYERS)]
    assert answer == {"registered_hooks": ids}
    hooks = server.get(HOOKS)["hooks"]
    assert [hook["hook_id"] for hook in hooks] == ids
    assert {hook["model"] for hook in hooks} == {"tiny"}
    assert server.http.delete(f"{HOOKS}/layer_1_mlp").json() == {"removed_hooks": ["layer_1_mlp"]}
    assert [hook["hook_id"] for hook in server.get(HOOKS)["hooks"]] == [ids[0], ids[2]]


@pytest.mark.parametrize("remove", [("DELETE", HOOKS), ("POST", f"{HOOKS}/clear")])
def test_all_are_removed_at_once_without_a_body(server, remove):
    server.post(HOOKS, hooks=[SPEC])
    assert server.http.request(*remove).json() == {"removed_hooks": ["middle"]}
    assert server.get(HOOKS) == {"hooks": []}


def test_a_listed_spec_registers_the_same_hook_again(server):
    server.post(
        HOOKS, hooks=[SPEC | {"capture_input": True, "positions": [-1], "dtype": "float16"}]
    )
    (before,) = server.get(HOOKS)["hooks"]
    server.http.delete(HOOKS)
    server.post(HOOKS, hooks=[before["spec"]])
    assert server.get(HOOKS)["hooks"] == [before]


def test_they_capture_on_every_later_generation(server):
    server.post(HOOKS, hooks=[SPEC])
    for path in ("/v1/completions", "/v1/completions/with_activations"):
        answer = server.post(path, prompt="hello", max_tokens=2)
        manifest = server.get(f"/v1/activations/{answer['capture_id']}")
        shapes = [record["shape"] for record in manifest["activations"]["middle"]]
        assert shapes == [[1, 5, HIDDEN], [1, 1, HIDDEN]]


def test_they_join_the_hooks_of_the_request(server):
    server.post(HOOKS, hooks=[SPEC])
    own = {"layer_name": "0", "component": "mlp"}
    answer = server.post(
        "/v1/completions/with_activations", prompt="hello", max_tokens=1, activation_hooks=[own]
    )
    assert set(answer["activations"]) == {"middle", "layer_0_mlp"}


def test_a_plain_completion_without_hooks_keeps_nothing(server):
    before = len(server.get("/v1/activations")["captures"])
    assert "capture_id" not in server.post("/v1/completions", prompt="hello", max_tokens=1)
    assert len(server.get("/v1/activations")["captures"]) == before


def test_an_id_is_registered_once_and_a_refused_batch_registers_nothing(server):
    server.post(HOOKS, hooks=[SPEC])
    other = {"layer_name": "0", "component": "mlp"}
    assert server.error(HOOKS, 409, hooks=[other, SPEC])["type"] == "duplicate_hook"
    assert [hook["hook_id"] for hook in server.get(HOOKS)["hooks"]] == ["middle"]


def test_an_unknown_id_is_answered_with_those_that_exist(server):
    server.post(HOOKS, hooks=[SPEC])
    error = server.http.delete(f"{HOOKS}/nobody").json()["error"]
    assert (error["code"], error["type"]) == (404, "unknown_hook")
    assert "middle" in error["message"]


def test_an_id_may_hold_any_characters(server):
    strange = "a/b c?ü"
    server.post(HOOKS, hooks=[SPEC | {"hook_id": strange}])
    removed = server.http.delete(f"{HOOKS}/a%2Fb%20c%3F%C3%BC").json()
    assert removed == {"removed_hooks": [strange]}


def test_they_belong_to_one_model(server, tiny_model):
    server.post("/v1/models/load", model_path=str(tiny_model), model_id="other")
    try:
        server.post(HOOKS, hooks=[SPEC], model="tiny")
        answer = server.post("/v1/completions", prompt="hello", max_tokens=1, model="other")
        assert "capture_id" not in answer
        assert server.get(HOOKS, model="other") == {"hooks": []}
        assert server.http.delete(HOOKS, params={"model": "other"}).json() == {"removed_hooks": []}
        assert len(server.get(HOOKS, model="tiny")["hooks"]) == 1
    finally:
        server.post("/v1/models/unload", model="other")


def test_what_they_capture_is_what_the_request_would_have(server):
    server.post(HOOKS, hooks=[SPEC])
    registered = server.post("/v1/completions", prompt="hello", max_tokens=2)["capture_id"]
    server.http.delete(HOOKS)
    asked = server.post(
        "/v1/completions/with_activations", prompt="hello", max_tokens=2, activation_hooks=[SPEC]
    )["capture_id"]
    one, other = (server.service.captures.get(c).activations["middle"] for c in (registered, asked))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def of(session):
    return {"X-Session-Id": session}


@pytest.fixture
def two_sessions(server):
    """Two clients of sessions of their own, of which the first has registered a hook."""
    mine, theirs = of("mine"), of("theirs")
    assert server.http.post(HOOKS, json={"hooks": [SPEC]}, headers=mine).status_code == 200
    yield mine, theirs
    for headers in (mine, theirs):
        server.http.delete(HOOKS, headers=headers)


def test_a_session_sees_and_removes_its_own_alone(server, two_sessions):
    mine, theirs = two_sessions
    assert server.get(HOOKS) == {"hooks": []}
    assert server.http.get(HOOKS, headers=theirs).json() == {"hooks": []}
    assert [h["hook_id"] for h in server.http.get(HOOKS, headers=mine).json()["hooks"]] == [
        "middle"
    ]
    for headers in ({}, theirs):
        assert server.http.delete(f"{HOOKS}/middle", headers=headers).status_code == 404
        assert server.http.delete(HOOKS, headers=headers).json() == {"removed_hooks": []}
        assert server.http.post(HOOKS, json={"hooks": [SPEC]}, headers=headers).status_code == 200
    assert len(server.http.get(HOOKS, headers=mine).json()["hooks"]) == 1


def test_they_capture_for_their_session_alone(server, two_sessions):
    mine, theirs = two_sessions
    asked = {"prompt": "hello", "max_tokens": 1}
    answers = [
        server.http.post("/v1/completions", json=asked, headers=headers).json()
        for headers in (mine, theirs, {})
    ]
    assert ["capture_id" in answer for answer in answers] == [True, False, False]


def test_a_session_has_a_plain_name(server):
    for name in ("", "a b", "x" * 65, "ü".encode()):
        answer = server.http.get(HOOKS, headers=of(name))
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "X-Session-Id"


@pytest.mark.parametrize("streamed", [False, True])
def test_hooks_over_the_budget_never_fail_who_asked_for_no_capture(tiny_model, streamed):
    everything = [{"layer_name": "*", "component": c} for c in ("residual", "attention_scores")]
    with running(tiny_model, capture_bytes=3000) as small:
        small.post(HOOKS, hooks=everything)
        asked = {"prompt": "hello there", "max_tokens": 4, "stream": streamed}
        answer = small.http.post("/v1/completions", json=asked)
        assert answer.status_code == 200
        assert "the registered hooks captured nothing" in answer.text
        assert "capture_id" not in answer.text
        assert "internal" not in answer.text
        charged = asked | {"activation_hooks": [SPEC], "stream": False}
        error = small.error("/v1/completions/with_activations", 507, **charged)
        assert error["type"] == "capture_too_large"


def test_only_so_many_are_registered(tiny_model):
    with running(tiny_model, max_hooks=2 * LAYERS) as limited:
        one, two = ({"layer_name": "*", "component": c} for c in ("residual", "mlp"))
        limited.post(HOOKS, hooks=[one, two])
        error = limited.error(HOOKS, 422, hooks=[{"layer_name": "0", "component": "attention"}])
        assert error["type"] == "over_limit"
        assert str(2 * LAYERS) in error["message"]
        answer = limited.http.post(HOOKS, json={"hooks": [one]}, headers=of("other"))
        assert answer.status_code == 200
        limited.http.delete(HOOKS)
        limited.post(HOOKS, hooks=[one])
