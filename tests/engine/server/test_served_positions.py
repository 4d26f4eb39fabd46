"""Over HTTP: positions by the part of a text, and captures without special tokens."""

from base64 import b64encode

import numpy as np
import pytest
from conftest import HIDDEN, Server

PROMPT = "abcdef"
ENTRY = {"layer_name": "1", "component": "residual"}
VALUE = {
    "shape": [1, 1, HIDDEN],
    "data_base64": b64encode(np.ones(HIDDEN, np.float32).tobytes()).decode(),
}
EDIT = {"layer_name": "0", "component": "mlp", "operation": "addition", "value": VALUE}
TYPED = {"logit_bias": {"65": 100}, "max_tokens": 4}
"""Four tokens of text come, whatever is captured or changed."""


def steps(reply, hook_id="layer_1_residual"):
    return [
        (record["step"], record["positions"]) for record in reply["activations"].get(hook_id, ())
    ]


def test_a_hook_captures_a_part_of_the_text(server: Server):
    path, body = "/v1/completions/with_activations", {"prompt": PROMPT, **TYPED}
    generated = server.post(path, **body, activation_hooks=[{**ENTRY, "positions": "generated"}])
    assert steps(generated) == [(1, [6, 6]), (2, [7, 7]), (3, [8, 8])]
    prompt = server.post(path, **body, activation_hooks=[{**ENTRY, "positions": "prompt"}])
    assert steps(prompt) == [(0, [0, 5])]
    everything = server.post(path, **body, activation_hooks=[{**ENTRY, "positions": "all"}])
    assert steps(everything) == [*steps(prompt), *steps(generated)]


def test_an_intervention_changes_a_part_of_the_text(server: Server):
    path = "/v1/completions/with_activations"
    hook = {**ENTRY, "layer_name": "0", "component": "mlp"}
    body = {"prompt": PROMPT, **TYPED, "activation_hooks": [hook], "activation_format": "array"}
    runs = {
        name: server.post(path, **body, interventions=[{**EDIT, "positions": name}])
        for name in ("prompt", "generated", "all")
    }
    plain = server.post(path, **body)["activations"]["layer_0_mlp"]
    for name, run in runs.items():
        for before, after in zip(plain, run["activations"]["layer_0_mlp"], strict=True):
            difference = np.array(after["data"]) - np.array(before["data"])
            is_changed = name == "all" or (name == "prompt") == (before["step"] == 0)
            np.testing.assert_allclose(difference, 1 if is_changed else 0, rtol=0, atol=1e-4)


def test_an_early_end_of_text_is_no_error(server: Server):
    end = server.service.models.get(None).kit.config["eos_token_id"]
    for positions in ("generated", [8]):
        reply = server.post(
            "/v1/completions/with_activations",
            prompt=PROMPT,
            max_tokens=4,
            logit_bias={str(end): 100},
            activation_hooks=[{**ENTRY, "positions": positions}],
            interventions=[{**EDIT, "positions": positions}],
        )
        assert reply["choices"][0]["finish_reason"] == "stop"
        assert steps(reply) == []


def test_a_session_pauses_at_a_part_of_the_text(server: Server):
    state = server.post(
        "/v1/completions/with_breakpoints",
        prompt=PROMPT,
        **TYPED,
        breakpoints=[{**ENTRY, "positions": "generated"}],
    )
    seen = []
    while state["state"] == "paused":
        seen.append(state["breakpoint"]["positions"])
        state = server.post(f"/v1/sessions/{state['session_id']}")
    assert seen == [[6, 6], [7, 7], [8, 8]]


@pytest.mark.parametrize("where", ["activation_hooks", "interventions"])
def test_what_is_no_part_of_a_text_is_refused(server: Server, where: str):
    entry = ENTRY if where == "activation_hooks" else EDIT
    error = server.error(
        "/v1/forward", 422, prompt=PROMPT, **{where: [{**entry, "positions": "generated"}]}
    )
    assert "this run passes no token there" in error["message"]
    error = server.error(
        "/v1/forward", 400, prompt=PROMPT, **{where: [{**entry, "positions": "answer"}]}
    )
    assert "positions" in error["message"]


def test_an_echoed_prompt_is_scored_without_what_changes_the_generated_tokens(server: Server):
    path = "/v1/completions/with_activations"
    body = {"prompt": PROMPT, "max_tokens": 4, "echo": True, "logprobs": 1}
    edits = [{**EDIT, "positions": "generated"}, {**EDIT, "positions": [7]}]
    steered = server.post(path, **body, interventions=edits)["choices"][0]["logprobs"]
    plain = server.post(path, **body)["choices"][0]["logprobs"]
    scores = [each["token_logprobs"] for each in (steered, plain)]
    assert scores[0][1:7] == pytest.approx(scores[1][1:7], abs=1e-5)
    assert scores[0][7:] != pytest.approx(scores[1][7:], abs=1e-3)


def test_special_tokens_are_left_out(server: Server):
    end = server.service.models.get(None).kit.config["eos_token_id"]
    tokens = [5, end, 7, 8, end, 9]
    hook = {**ENTRY, "exclude_special_tokens": True}
    reply = server.post(
        "/v1/forward", prompt=tokens, activation_hooks=[hook], activation_format="array"
    )
    (record,) = reply["activations"]["layer_1_residual"]
    assert record["position_list"] == [0, 2, 3, 5]
    assert record["positions"] == [0, 5]
    whole = server.post(
        "/v1/forward", prompt=tokens, activation_hooks=[ENTRY], activation_format="array"
    )
    (every,) = whole["activations"]["layer_1_residual"]
    assert every["position_list"] is None
    np.testing.assert_array_equal(record["data"], np.array(every["data"])[:, [0, 2, 3, 5]])


def test_a_registered_hook_is_listed_as_it_was_asked_for(server: Server):
    hook = {**ENTRY, "positions": "generated", "exclude_special_tokens": True}
    server.post("/v1/activations/hooks", hooks=[hook])
    (entry,) = server.get("/v1/activations/hooks")["hooks"]
    server.post("/v1/activations/hooks/clear")
    assert entry["spec"]["positions"] == "generated"
    assert entry["spec"]["exclude_special_tokens"] is True
