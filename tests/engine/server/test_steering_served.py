"""Registered steering acts on every reply of its model, says so, and on no other row."""

import base64
import threading

import numpy as np
import openai
import pytest
from safetensors.numpy import load, save

from tests.engine.server.conftest import HIDDEN, LAYERS, running

VECTORS, STEERING = "/v1/steering_vectors", "/v1/steering"
PAIRS = [
    {"positive": "good and great", "negative": "bad and poor"},
    {"positive": "a fine day", "negative": "an awful day"},
    {"positive": [3, 4, 5], "negative": [9, 8]},
]
CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 12}
MINE = {"X-Session-Id": "mine"}


def text_of(reply) -> str:
    return reply["choices"][0]["message"]["content"]


@pytest.fixture(autouse=True)
def nothing_left(server):
    yield
    server.http.delete(STEERING)
    server.http.delete(STEERING, headers=MINE)
    for each in server.get(VECTORS)["vectors"]:
        server.http.delete(f"{VECTORS}/{each['vector']}")


@pytest.fixture
def directions() -> dict[int, np.ndarray]:
    generator = np.random.default_rng(3)
    return {layer: generator.standard_normal(HIDDEN).astype(np.float32) for layer in range(LAYERS)}


@pytest.fixture
def vector(server, directions) -> str:
    """A vector that is imported from a file, and steers hard."""
    body = save({f"direction.{layer}": values for layer, values in directions.items()})
    sent = base64.b64encode(body).decode()
    return server.post(f"{VECTORS}/import", data_base64=sent, name="hard")["vector"]


def added(directions, strength: float, positions) -> list[dict]:
    """The interventions that do what a steering does."""
    return [
        {
            "layer_name": str(layer),
            "component": "residual",
            "operation": "addition",
            "positions": where,
            "value": {"shape": [HIDDEN], "data": (values * np.float32(strength)).tolist()},
        }
        for where in positions
        for layer, values in directions.items()
    ]


def test_a_vector_is_computed_listed_read_and_deleted(server):
    entry = server.post(VECTORS, pairs=PAIRS, name="nice", method="pca", layers=[1, 2])
    assert [each["layer"] for each in entry["directions"]] == [1, 2]
    assert [each["norm"] for each in entry["directions"]] == pytest.approx([1, 1], abs=1e-5)
    assert (entry["vector"], entry["width"], entry["architecture"]) == ("nice", HIDDEN, "llama")
    assert entry["about"] == {"method": "pca", "position": "-1", "pairs": "3"}
    assert server.get(VECTORS) == {"vectors": [entry]}
    assert server.get(f"{VECTORS}/nice") == entry
    files = [
        server.get(f"{VECTORS}/nice/file", **query)["data_base64"]
        for query in ({}, {"format": "gguf"})
    ]
    first, second = map(base64.b64decode, files)
    assert set(load(first)) == {"direction.1", "direction.2"}
    assert second.startswith(b"GGUF")
    again = server.post(f"{VECTORS}/import", data_base64=files[1])
    assert again["directions"] == entry["directions"]
    assert server.http.delete(f"{VECTORS}/nice").json() == {"vector": "nice"}
    error = server.error(STEERING, 404, vector="nice")
    assert error["type"] == "unknown_steering"
    assert again["vector"] in error["message"]


def test_any_client_is_steered_and_told_so(server, vector, directions):
    plain = server.post("/v1/chat/completions", **CHAT)
    assert "steering" not in plain
    entry = server.post(STEERING, vector=vector, strength=0.7, steering_id="on")
    assert server.get("/v1/models/tiny")["steering"] == [entry]
    client = openai.OpenAI(base_url=f"{server.listener.url}/v1", api_key="none")
    reply = client.chat.completions.create(model="tiny", temperature=0, **CHAT)
    told = reply.to_dict()
    assert told["steering"] == [entry]
    assert text_of(told) != text_of(plain)
    expected = server.post(
        "/v1/chat/completions/with_activations",
        interventions=added(directions, 0.7, ["all"]),
        **CHAT,
    )  # of which the steering is one half
    server.http.delete(f"{STEERING}/on")
    once = server.post(
        "/v1/chat/completions/with_activations",
        interventions=added(directions, 0.7, ["all"]),
        **CHAT,
    )
    assert text_of(once) == text_of(told)
    twice = server.post(
        "/v1/chat/completions/with_activations",
        interventions=added(directions, 1.4, ["all"]),
        **CHAT,
    )
    assert text_of(twice) == text_of(expected)
    assert server.post("/v1/chat/completions", **CHAT)["choices"] == plain["choices"]
    assert server.get("/v1/models/tiny")["steering"] == []


@pytest.mark.parametrize(("positions", "alike"), [("generated", [[-1], "generated"]),
                                                  ("prompt", ["prompt"])])  # fmt: skip
def test_generated_tokens_are_all_chosen_by_a_steered_pass(
    server, vector, directions, positions, alike
):
    strengths = [{"layer": 1, "strength": -2.0}]
    server.post(STEERING, vector=vector, strengths=strengths, positions=positions)
    for count in (1, 8):
        options = {"prompt": "in the", "max_tokens": count, "logprobs": 2}
        steered = server.post("/v1/completions", **options)
        assert steered["steering"][0]["layers"] == strengths
        where = [each for each in alike if count > 1 or each != "generated"]
        server.http.delete(STEERING)
        other = server.post(
            "/v1/completions/with_activations",
            interventions=added({1: directions[1]}, -2.0, where),
            **options,
        )
        assert steered["choices"] == other["choices"]
        server.post(STEERING, vector=vector, strengths=strengths, positions=positions)


def test_a_session_is_steered_alone_and_rows_beside_it_are_not(server, vector):
    """A batch of steered and unsteered rows: each has the tokens that it has alone."""
    body = CHAT | {"max_tokens": 24}
    plain = server.post("/v1/chat/completions", **body)
    of_mine = {"vector": vector, "scope": "session"}
    assert server.http.post(STEERING, json=of_mine, headers=MINE).status_code == 200
    assert server.get(STEERING) == {"steering": []}
    alone = server.http.post("/v1/chat/completions", json=body, headers=MINE).json()
    assert text_of(alone) != text_of(plain)
    replies: dict[int, dict] = {}

    def ask(place: int) -> None:
        headers = MINE if place % 2 else {}
        replies[place] = server.http.post("/v1/chat/completions", json=body, headers=headers).json()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, reply in replies.items():
        assert text_of(reply) == text_of(alone if place % 2 else plain)
        assert ("steering" in reply) == bool(place % 2)


def test_every_kind_of_reply_says_what_steered_it_or_that_nothing_did(server, vector):
    server.post(STEERING, vector=vector, operation="ablation", of_layer=1, steering_id="out")
    response = server.post("/v1/responses", input="hello", max_output_tokens=2)
    assert [each["steering_id"] for each in response["steering"]] == ["out"]
    lm_studio = server.post("/api/v1/chat", model="tiny", input="hello", max_output_tokens=2)
    assert [each["steering_id"] for each in lm_studio["steering"]] == ["out"]
    forward = server.post("/v1/forward", prompt="hello")
    assert forward["steering"][0]["of_layer"] == 1
    with server.http.stream(
        "POST", "/v1/completions", json={"prompt": "a", "max_tokens": 2, "stream": True}
    ) as stream:
        assert '"steering_id":"out"' in stream.read().decode()
    lens = server.post("/v1/logit_lens", prompt="hello")
    assert "'out' does not act here" in lens["warnings"][0]


def test_ablation_leaves_nothing_of_the_direction_in_any_stream(server, vector, directions):
    server.post(STEERING, vector=vector, operation="ablation", of_layer=1)
    unit = directions[1] / np.linalg.norm(directions[1])
    hooks = [
        {"layer_name": "*", "component": "residual"},
        {"layer_name": "*", "component": "residual_mid"},
        {"layer_name": "blocks.0.hook_resid_pre", "hook_id": "entry"},
    ]
    reply = server.post(
        "/v1/completions/with_activations",
        prompt="hello",
        max_tokens=3,
        activation_hooks=hooks,
        activation_format="array",
    )
    for records in reply["activations"].values():
        for record in records:
            assert np.abs(np.float32(record["data"]) @ unit).max() < 1e-5


def test_a_draft_model_changes_no_steered_text(tiny_model, server, vector):
    server.post(STEERING, vector=vector, strength=0.4)
    server.post("/v1/models/load", model_path=str(tiny_model), model_id="draft")
    try:
        body = {"model": "tiny", "prompt": "hello", "max_tokens": 10}
        alone = server.post("/v1/completions", **body)
        drafted = server.post("/v1/completions", draft_model="draft", **body)
        assert drafted["choices"] == alone["choices"]
        assert drafted["steering"] == alone["steering"]
        other = server.post("/v1/completions", **body | {"model": "draft"})
        assert "steering" not in other
        assert "it is registered on tiny, not on draft" in other["warnings"][0]
    finally:
        server.post("/v1/models/unload", model="draft")


def test_steering_outlives_its_model_and_says_when_it_cannot_act(tiny_model, vector, server):
    body = server.get(f"{VECTORS}/{vector}/file")["data_base64"]
    with running(tiny_model, model_roots=(tiny_model.parent,)) as own:
        own.post(f"{VECTORS}/import", data_base64=body, name="hard")
        own.post(STEERING, vector="hard", steering_id="on")
        steered = own.post("/v1/completions", prompt="hello", max_tokens=4)
        own.post("/v1/models/unload", model="tiny")
        own.post("/v1/models/load", model_path=str(tiny_model), model_id="other")
        reply = own.post("/v1/completions", prompt="hello", max_tokens=4)
        assert "'on' did not act: it is registered on tiny" in reply["warnings"][0]
        own.post("/v1/models/load", model_path=str(tiny_model), model_id="tiny")
        again = own.post("/v1/completions", prompt="hello", max_tokens=4, model="tiny")
        assert again["choices"] == steered["choices"]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, {"vector": "none"}, "kept: hard"),
        (422, {"strengths": [{"layer": 7, "strength": 1.0}]}, "no direction of layer 7"),
        (422, {"operation": "ablation"}, "of_layer"),
        (422, {"operation": "ablation", "of_layer": 1, "strength": 2.0}, "wholly"),
        (422, {"of_layer": 1}, "only an ablation"),
        (422, {"strength": 1.0, "strengths": [{"layer": 1, "strength": 1.0}]}, "not both"),
        (422, {"strengths": [{"layer": 1, "strength": 1.0}] * 2}, "twice"),
        (422, {"scope": "session"}, "X-Session-Id"),
        (404, {"model": "none"}, "tiny"),
    ],
)
def test_what_cannot_steer_is_refused(server, vector, status, body, message):
    error = server.error(STEERING, status, **{"vector": vector} | body)
    assert message in error["message"]
    assert server.get(STEERING) == {"steering": []}


def test_names_are_taken_once_and_files_checked(server, vector):
    server.post(STEERING, vector=vector, steering_id="on")
    assert server.error(STEERING, 409, vector=vector, steering_id="on")["type"] == (
        "duplicate_steering"
    )
    assert server.error(VECTORS, 409, pairs=PAIRS, name=vector)["type"] == "duplicate_steering"
    narrow = base64.b64encode(save({"direction.1": np.ones(4, np.float32)})).decode()
    server.post(f"{VECTORS}/import", data_base64=narrow, name="narrow")
    error = server.error(STEERING, 422, vector="narrow")
    assert "4 numbers" in error["message"]
    assert "32" in error["message"]
    assert server.error(f"{VECTORS}/import", 422, data_base64="§")["param"] == "data_base64"
    assert "GGUF" in server.error(f"{VECTORS}/import", 422, data_base64="R0dVRg==")["message"]
