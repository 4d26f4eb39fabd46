"""A debug session steps through a pass over the wire, and ends by itself, with all it kept."""

import time

import numpy as np
import pytest

from bridge.wire import from_record
from engine.contract import schemas as s
from tests.engine.server.conftest import HIDDEN, LAYERS, running

PATH = "/v1/debug_sessions"
PROMPT = "once upon"


def begin(server, **fields):
    state = server.post(PATH, prompt=PROMPT, **fields)
    s.DebugState.model_validate(state)
    return state


def act(server, state, action, **fields):
    answer = server.post(f"{PATH}/{state['session_id']}/{action}", **fields)
    {"fork": s.DebugFork}.get(action, s.DebugState).model_validate(answer)
    return answer


def value_of(server, state, **query):
    record = server.get(f"{PATH}/{state['session_id']}/value", **query)
    s.ActivationRecord.model_validate(record)
    return from_record(record, {})


def sent(value: np.ndarray) -> dict:
    return {"shape": value.shape, "data": value.tolist()}


def test_a_pass_is_stepped_changed_forked_and_restarted(server):
    plain = server.post("/v1/forward", prompt=PROMPT, logits="last", activation_format="array")
    state = begin(server)
    assert (state["state"], state["at"]["component"], state["layer"]) == ("stopped", "embedding", 0)
    assert len(state["tokens"]) == len(state["texts"]) == len(PROMPT)
    state = act(server, state, "step", to="layer")
    assert (state["at"]["field_name"], state["layer"]) == ("blocks.0.hook_resid_post", 1)
    state = act(server, state, "step", layer_name="1", component="mlp")
    value = value_of(server, state)
    assert list(value.shape) == state["shape"] == [1, len(PROMPT), HIDDEN]
    np.testing.assert_array_equal(value_of(server, state, position=3)[:, 0], value[:, 3])

    fork = act(server, state, "fork", value=sent(9 * value), top_k=2)
    state = act(server, state, "value", value=sent(9 * value))
    assert state["is_changed"]
    np.testing.assert_array_equal(value_of(server, state), 9 * value)
    done = act(server, state, "step", to="end")
    assert (done["state"], done["at"], done["shape"][:2]) == ("done", None, [1, 1])
    assert [place["component"] for place in done["changes"]] == ["mlp"]
    changed = server.post(
        "/v1/forward",
        prompt=PROMPT,
        logits="last",
        activation_format="array",
        interventions=[
            {
                "layer_name": "1",
                "component": "mlp",
                "operation": "replacement",
                "value": sent(9 * value),
            }
        ],
    )
    np.testing.assert_allclose(value_of(server, done), changed["logits"]["data"], atol=1e-5)
    likeliest = [[top["id"] for top in run["top"][0][:2]] for run in (plain, changed)]
    assert [[top["id"] for top in each] for each in fork["top"]] == likeliest
    assert [each["layer"] for each in fork["layers"]] == [1, 2]
    assert fork["divergence"] > 0

    state = act(server, done, "restart", layer=1)
    assert (state["changes"], state["layer"]) == ([], 1)
    done = act(server, state, "step", to="end")
    np.testing.assert_allclose(value_of(server, done), plain["logits"]["data"], atol=1e-5)
    assert [top["id"] for top in done["top"]] == [top["id"] for top in plain["top"][0]]


def test_the_lens_of_a_stop_is_the_lens_of_its_layer(server):
    lens = server.post("/v1/logit_lens", prompt=PROMPT, top_k=3)
    state = act(server, begin(server), "step", layer_name="1", component="residual")
    for position in (2, len(PROMPT) - 1):
        read = server.get(f"{PATH}/{state['session_id']}/logit_lens", position=position, top_k=3)
        s.DebugLens.model_validate(read)
        expected = lens["layers"][1]["top"][position]
        assert [top["id"] for top in read["top"]] == [top["id"] for top in expected]
        assert read["top"][0]["logit"] == pytest.approx(expected[0]["logit"], abs=1e-4)
    missing = server.http.get(f"{PATH}/{state['session_id']}/logit_lens?position=99")
    assert "positions 0 to 8" in missing.json()["error"]["message"]
    many = server.http.get(f"{PATH}/{state['session_id']}/logit_lens?top_k=101")
    assert "not from 1 to 100" in many.json()["error"]["message"]


def test_sessions_are_apart_and_other_passes_run_between_their_steps(server):
    first = act(server, begin(server), "step", to="layer")
    second = begin(server)
    server.post("/v1/forward", prompt="another", top_k=1)
    assert act(server, second, "step", to="end")["state"] == "done"
    again = server.get(f"{PATH}/{first['session_id']}")
    assert again["at"] == first["at"]
    assert again["bytes"] > 0


def test_a_session_that_is_ended_says_so_and_frees_what_it_kept(server):
    sessions = server.service.debug_sessions
    before = sessions.nbytes
    state = act(server, begin(server), "step", to="end")
    assert sessions.nbytes == before + state["bytes"]
    path = f"{PATH}/{state['session_id']}"
    assert server.http.delete(path).json() == {"session_id": state["session_id"]}
    assert sessions.nbytes == before
    assert "ended on request" in server.error(f"{path}/step", 410, to="end")["message"]
    assert "never began it" in server.error(f"{PATH}/dbg-0/step", 404, to="end")["message"]


def test_a_session_that_is_abandoned_ends_by_itself(tiny_model):
    with running(tiny_model, debugger_patience=0.4) as server:
        state = begin(server)
        for _ in range(3):
            time.sleep(0.25)  # each request gives it its time anew
            state = act(server, state, "step", to="layer")
        assert state["seconds"] == 0.4
        time.sleep(0.7)
        assert server.service.debug_sessions.nbytes == 0
        message = server.error(f"{PATH}/{state['session_id']}/step", 410, to="layer")["message"]
        assert "nothing was asked of it for 0.4 seconds" in message


def test_what_sessions_keep_together_is_bounded(tiny_model):
    stream = len(PROMPT) * HIDDEN * 4
    with running(tiny_model, capture_bytes=(LAYERS + 4) * stream) as server:
        state = act(server, begin(server), "step", to="end")
        error = server.error(PATH, 507, prompt=PROMPT)
        assert (
            f"the other debug sessions keep {state['bytes']} ({state['session_id']})"
            in error["message"]
        )
        server.http.delete(f"{PATH}/{state['session_id']}")
        begin(server)


def test_the_sessions_of_a_model_end_with_it(server, tiny_model):
    server.post("/v1/models/load", model_path=str(tiny_model), model_id="another")
    state = begin(server, model="another")
    server.post("/v1/models/unload", model="another")
    error = server.error(f"{PATH}/{state['session_id']}/step", 410, to="end")
    assert "the model another was unloaded" in error["message"]


@pytest.mark.parametrize(
    ("action", "fields", "status", "says"),
    [
        ("step", {}, 400, "either to or layer_name"),
        ("step", {"to": "end", "component": "mlp"}, 422, "it goes with layer_name"),
        ("step", {"layer_name": "9", "component": "mlp"}, 422, "layers 0 to 2"),
        ("restart", {"layer": 2}, 422, "has not come to layer 2"),
        ("value", {"value": {"shape": [1], "data": [0]}}, 422, "embedding has [1, 9, 32]"),
        ("fork", {}, 422, "nothing was changed yet"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(server, action, fields, status, says):
    state = begin(server)
    path = f"{PATH}/{state['session_id']}/{action}"
    assert says in server.error(path, status, **fields)["message"]
    assert act(server, state, "step", to="end")["state"] == "done"
