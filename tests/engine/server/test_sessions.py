"""A run stops for its client, goes on with what it is given, and never waits for ever."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from engine.contract import schemas as s
from tests.engine.server.conftest import HEAD_DIM, HEADS, HIDDEN, LAYERS, running

PATH = "/v1/sessions"
COMPLETION = "/v1/completions/with_breakpoints"
PROMPT = "once upon"
FORM = {"logits": "all", "activation_format": "array", "breakpoint_format": "array"}
HEAD = {"layer_name": "1", "component": "head_output", "heads": [3]}
RESIDUAL = {"layer_name": "0", "component": "residual"}


def begin(server, *breakpoints, **fields):
    state = server.post(PATH, prompt=PROMPT, breakpoints=breakpoints, **FORM | fields)
    s.SessionState.model_validate(state)
    return state


def begin_completion(server, *breakpoints, **fields):
    asked = {"max_tokens": 4, "logprobs": 2, "prompt": PROMPT, "breakpoint_format": "array"}
    state = server.post(COMPLETION, breakpoints=breakpoints, **asked | fields)
    s.SessionState.model_validate(state)
    return state


def go_on(server, state, value: np.ndarray | None = None):
    changed = value is not None and {"shape": value.shape, "data": value.tolist()}
    body = {"value": changed} if changed else {}
    state = server.post(f"{PATH}/{state['session_id']}", **body)
    s.SessionState.model_validate(state)
    return state


def through(server, state, block: Callable[[dict, np.ndarray], np.ndarray | None]):
    """Go on to the end, with what `block` makes of each stop; answers the result."""
    while state["state"] == "paused":
        value = np.array(state["breakpoint"]["data"], np.float32)
        state = go_on(server, state, block(state["breakpoint"], value))
    return state["result"]


def forward(server, **fields):
    body = {"prompt": PROMPT, "logits": "all", "activation_format": "array", **fields}
    return server.post("/v1/forward", **body)


def test_a_live_block_that_zeroes_a_head_gives_the_logits_of_the_ablation(server):
    live = through(server, begin(server, HEAD), lambda stop, value: 0 * value)
    declared = forward(server, interventions=[HEAD | {"operation": "ablation"}])
    assert live["logits"] == declared["logits"]
    assert live["top"] == declared["top"]
    assert live["logits"] != forward(server)["logits"]


def test_it_does_so_on_the_default_model(smollm2_path):
    head = HEAD | {"layer_name": "23"}
    with running(smollm2_path) as server:
        live = through(server, begin(server, head), lambda stop, value: 0 * value)
        declared = forward(server, interventions=[head | {"operation": "ablation"}])
    assert live["logits"] == declared["logits"]


def test_a_pass_that_goes_on_unchanged_is_the_plain_pass(server):
    everywhere = [{"layer_name": "*", "component": c} for c in ("residual", "attention_pattern")]
    live = through(server, begin(server, *everywhere), lambda stop, value: None)
    assert live["logits"] == forward(server)["logits"]


def test_stops_come_in_the_order_of_the_pass_with_what_they_are(server):
    seen = []
    breakpoints = [{"layer_name": "*", "component": "mlp", "positions": [-1, 0]}, HEAD]
    through(
        server, begin(server, *breakpoints), lambda stop, value: seen.append((stop, value.shape))
    )
    assert [stop["hook_id"] for stop, _ in seen] == [
        "layer_0_mlp",
        "layer_1_head_output",
        "layer_1_mlp",
        "layer_2_mlp",
    ]
    length = len(PROMPT)
    assert [shape for _, shape in seen] == [
        (1, 2, HIDDEN),
        (1, 1, length, HEAD_DIM),
        *[(1, 2, HIDDEN)] * 2,
    ]
    stop = seen[1][0]
    assert (stop["layer"], stop["layer_name"]) == (1, "model.layers.1")
    assert (stop["component"], stop["positions"]) == ("head_output", [0, length - 1])
    assert stop["dtype"] == "float32"


def test_a_stop_shows_what_a_hook_captures_there(server):
    hooks = [RESIDUAL | {"hook_id": "before"}]
    (captured,) = forward(server, activation_hooks=hooks)["activations"]["before"]
    shown = []
    through(server, begin(server, RESIDUAL), lambda stop, value: shown.append(stop["data"]))
    assert shown == [captured["data"]]


def test_captures_see_the_changed_value(server):
    hooks = [RESIDUAL | {"hook_id": "after"}]
    state = begin(server, RESIDUAL, activation_hooks=hooks)
    value = np.array(state["breakpoint"]["data"], np.float32)
    live = through(server, state, lambda stop, value: value + 1)
    (captured,) = live["activations"]["after"]
    np.testing.assert_array_equal(np.array(captured["data"], np.float32), value + 1)


def test_a_stop_follows_the_declared_interventions_at_its_point(server):
    zeroed = RESIDUAL | {"operation": "ablation"}
    state = begin(server, RESIDUAL, interventions=[zeroed])
    assert not np.any(state["breakpoint"]["data"])
    through(server, state, lambda stop, value: None)


def test_base64_serves_as_well_as_lists(server):
    state = begin(server, HEAD, breakpoint_format="base64")
    value = {
        "shape": state["breakpoint"]["shape"],
        "data_base64": state["breakpoint"]["data_base64"],
    }
    done = server.post(f"{PATH}/{state['session_id']}", value=value)
    assert done["result"]["logits"] == forward(server)["logits"]


# --- generations ----------------------------------------------------------------------------


def complete(server, **fields):
    asked = {"max_tokens": 4, "logprobs": 2, "prompt": PROMPT}
    return server.post("/v1/completions/with_activations", **asked | fields)


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_live_block_gives_the_tokens_and_logprobs_of_the_ablation_in_a_generation(
    server, temperature
):
    sampling = {"temperature": temperature, "seed": 7}
    state = begin_completion(server, HEAD, **sampling)
    live = through(server, state, lambda stop, value: 0 * value)
    declared = complete(server, interventions=[HEAD | {"operation": "ablation"}], **sampling)
    assert live["choices"] == declared["choices"]
    assert live["usage"] == declared["usage"]
    assert live["choices"] != complete(server, **sampling)["choices"]


def test_a_generation_does_so_on_the_default_model(smollm2_path):
    head = HEAD | {"layer_name": "23"}
    asked = {"prompt": "The capital of France is", "max_tokens": 5}
    with running(smollm2_path) as server:
        state = begin_completion(server, head, **asked)
        live = through(server, state, lambda stop, value: 0 * value)
        declared = complete(server, interventions=[head | {"operation": "ablation"}], **asked)
    assert live["choices"] == declared["choices"]


def test_a_generation_that_goes_on_unchanged_is_the_plain_generation(server):
    state = begin_completion(server, RESIDUAL, HEAD)
    live = through(server, state, lambda stop, value: None)
    assert live["choices"] == complete(server)["choices"]


def test_a_generation_stops_in_each_pass_that_decides_a_token_and_says_which(server):
    seen = []
    state = begin_completion(server, RESIDUAL, HEAD, max_tokens=3)
    through(server, state, lambda stop, value: seen.append(stop))
    last = len(PROMPT) - 1
    passes = [(0, [0, last - 1]), (0, [last, last]), (1, [last + 1] * 2), (2, [last + 2] * 2)]
    assert [(stop["step"], stop["positions"]) for stop in seen[::2]] == passes
    assert [stop["hook_id"] for stop in seen[:2]] == ["layer_0_residual", "layer_1_head_output"]


def test_captures_of_a_generation_see_the_changed_values(server):
    hook = RESIDUAL | {"hook_id": "after", "dtype": "float32"}
    sent = []

    def raised(stop, value):
        sent.append(value + 1)
        return sent[-1]

    state = begin_completion(
        server, RESIDUAL, activation_hooks=[hook], activation_format="array", max_tokens=3
    )
    records = through(server, state, raised)["activations"]["after"]
    prompt, *tokens = [np.array(record["data"], np.float32) for record in records]
    np.testing.assert_array_equal(prompt, np.concatenate(sent[:2], axis=1))
    np.testing.assert_array_equal(tokens, sent[2:])


def test_a_stop_at_positions_of_a_generation_is_asked_there_only(server):
    second = len(PROMPT) + 1
    state = begin_completion(server, RESIDUAL | {"positions": [second]})
    assert state["breakpoint"]["positions"] == [second, second]
    assert state["breakpoint"]["step"] == 2
    assert through(server, state, lambda stop, value: None)["choices"]


def test_a_generation_in_turns_is_not_streamed(server):
    error = server.error(COMPLETION, 400, prompt=PROMPT, breakpoints=[HEAD], stream=True)
    assert error["param"] == "stream"


def test_a_generation_that_is_cancelled_makes_room_at_once(server):
    state = go_on(server, begin_completion(server, RESIDUAL))
    server.http.delete(f"{PATH}/{state['session_id']}")
    assert complete(server)["choices"]
    through(server, begin(server, HEAD), lambda stop, value: None)


# --- one at a time, each wait bounded -------------------------------------------------------


def test_only_one_session_is_under_way(server):
    first = begin(server, HEAD)
    refused = server.error(PATH, 409, prompt=PROMPT, breakpoints=[HEAD])
    assert first["session_id"] in refused["message"]
    through(server, first, lambda stop, value: None)
    through(server, begin(server, HEAD), lambda stop, value: None)


def test_the_server_is_well_and_others_go_on_while_a_pass_is_stopped(server):
    state = begin(server, HEAD)
    while_stopped = forward(server)
    text = server.post("/v1/completions", prompt=PROMPT, max_tokens=3)["choices"][0]["text"]
    health = server.get("/health")
    assert health["ready"]
    assert health["queue_depth"] == 0
    live = through(server, state, lambda stop, value: None)
    assert while_stopped["logits"] == live["logits"]
    assert server.post("/v1/completions", prompt=PROMPT, max_tokens=3)["choices"][0]["text"] == text


def test_a_value_of_another_shape_is_refused_and_may_be_sent_again(server):
    state = begin(server, HEAD)
    wrong = {"shape": [2], "data": [0, 0]}
    error = server.error(f"{PATH}/{state['session_id']}", 422, value=wrong)
    assert error["param"] == "value"
    assert f"[1, 1, {len(PROMPT)}, {HEAD_DIM}]" in error["message"]
    live = through(server, state, lambda stop, value: 0 * value)
    assert live["logits"] != forward(server)["logits"]


def test_a_cancelled_session_makes_room_at_once(server):
    state = begin(server, HEAD)
    path = f"{PATH}/{state['session_id']}"
    assert server.http.delete(path).json() == {"session_id": state["session_id"]}
    assert forward(server)["logits"]
    assert "cancelled on request" in server.error(path, 410)["message"]
    assert server.http.delete(path).status_code == 410
    through(server, begin(server, HEAD), lambda stop, value: None)
    assert "cancelled on request" in server.error(path, 410)["message"]


def test_an_session_that_is_done_or_unknown_says_so(server):
    state = begin(server, HEAD)
    through(server, state, lambda stop, value: None)
    assert "it is done" in server.error(f"{PATH}/{state['session_id']}", 410)["message"]
    assert "never began" in server.error(f"{PATH}/exc-0", 404)["message"]


@pytest.mark.parametrize(
    ("stop", "exists"),
    [
        (HEAD | {"heads": [HEADS]}, f"heads 0 to {HEADS - 1}"),
        (HEAD | {"layer_name": str(LAYERS)}, f"layers 0 to {LAYERS - 1}"),
        (RESIDUAL | {"positions": [99]}, "positions 0 to"),
    ],
)
def test_a_stop_that_cannot_be_is_refused_and_leaves_nothing_behind(server, stop, exists):
    assert exists in server.error(PATH, 422, prompt=PROMPT, breakpoints=[stop])["message"]
    through(server, begin(server, HEAD), lambda stop, value: None)


def test_a_pass_that_nobody_continues_is_given_up(tiny_model):
    with running(tiny_model, breakpoint_patience=0.3) as server:
        state = begin(server, HEAD)
        time.sleep(0.6)
        error = server.error(f"{PATH}/{state['session_id']}", 410)
        assert "nothing came back within 0.3 seconds" in error["message"]
        live = through(server, begin(server, HEAD), lambda stop, value: None)
        assert live["logits"] == forward(server)["logits"]


def test_a_shutdown_does_not_wait_for_a_stopped_pass(tiny_model):
    with running(tiny_model) as server:
        state = begin(server, HEAD)
        assert server.service.worker.stop(grace=10)
        error = server.error(f"{PATH}/{state['session_id']}", 410)
        assert "shutting down" in error["message"]


def test_a_client_that_says_so_is_waited_for(tiny_model):
    with running(tiny_model, breakpoint_patience=0.5) as server:
        state = begin(server, RESIDUAL)
        keep = f"{PATH}/{state['session_id']}/keep"
        for _ in range(5):
            time.sleep(0.2)
            assert server.post(keep) == {"session_id": state["session_id"], "seconds": 0.5}
        assert go_on(server, state)["state"] == "done"
        assert "it is done" in server.error(keep, 410)["message"]
