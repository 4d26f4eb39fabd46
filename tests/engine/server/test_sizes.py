"""Sizes that a client sends are checked before anything is made of them."""

import pytest

from engine.contract.schemas.base import LARGEST

LAYER_NAMES = ["9" * 10, "9" * 150, "0-" + "9" * 150, "blocks." + "9" * 150]
LONG_NAMES = ["9" * 5000, "0-" + "9" * 5000, "a" * 100_000]
SHAPES = [
    ([0, LARGEST, LARGEST, LARGEST], []),
    ([LARGEST, LARGEST, 0], []),
    ([0], []),
    ([0, 0], [[], []]),
    ([1] * 65, [1.0]),
    ([1] * 9, [1.0]),
    ([2**31], [1.0]),
    ([-1], [1.0]),
]
WRONG_COUNTS = [([LARGEST] * 8, [1.0]), ([2, 2], [1.0]), ([], []), ([1], [])]


def changing(**parameters):
    return [{"layer_name": "0", "component": "mlp", "operation": "replacement", **parameters}]


@pytest.fixture(params=["forward", "generation", "session"])
def refused(request, server):
    """Sends a tensor as a value wherever one is taken, and gives back the error."""

    def send(status, **value):
        if request.param == "forward":
            return server.error(
                "/v1/forward", status, prompt="a", interventions=changing(value=value)
            )
        if request.param == "generation":
            path = "/v1/completions/with_activations"
            return server.error(path, status, prompt="a", interventions=changing(value=value))
        breakpoints = [{"layer_name": "0", "component": "mlp"}]
        paused = server.post("/v1/sessions", prompt="a", breakpoints=breakpoints)
        path = f"/v1/sessions/{paused['session_id']}"
        try:
            return server.error(path, status, value=value)
        finally:
            assert server.http.delete(path).status_code == 200

    return send


@pytest.mark.parametrize(("shape", "data"), SHAPES)
def test_a_shape_that_no_activation_has_breaks_the_contract(refused, shape, data):
    error = refused(400, shape=shape, data=data)
    assert "value.shape" in error["param"]


@pytest.mark.parametrize(("shape", "data"), WRONG_COUNTS)
def test_values_that_do_not_fill_a_shape_are_refused_by_their_number(refused, shape, data):
    error = refused(422, shape=shape, data=data)
    assert f"{len(data)} values do not fill the shape" in error["message"]
    assert "0 values do not fill the shape" in refused(422, shape=shape, data_base64="")["message"]


@pytest.mark.parametrize("number", ["NaN", "1e39", "-1e39", "1" + "0" * 400])
def test_numbers_beyond_float32_are_refused(server, number):
    body = (
        '{"prompt": "a", "interventions": [{"layer_name": "0", "component": "mlp", "operation": '
        f'"replacement", "value": {{"shape": [1], "data": [{number}]}}}}]}}'
    )
    response = server.http.post("/v1/forward", content=body)
    assert response.status_code == 422
    assert "beyond float32" in response.json()["error"]["message"]


@pytest.mark.parametrize("parameters", [{"factor": 1e39}, {"factor": -1e39}])
def test_a_factor_beyond_float32_breaks_the_contract(server, parameters):
    changes = changing(**parameters, operation="scaling")
    assert server.error("/v1/forward", 400, prompt="a", interventions=changes)
    noise = changing(operation="noise", scale=1e39, seed=1)
    assert server.error("/v1/forward", 400, prompt="a", interventions=noise)


def wherever_a_layer_is_named(name):
    hook = {"layer_name": name, "component": "mlp"}
    ablation = {**hook, "operation": "ablation"}
    return [
        ("/v1/forward", {"prompt": "a", "activation_hooks": [hook]}),
        ("/v1/forward", {"prompt": "a", "interventions": [ablation]}),
        ("/v1/completions/with_activations", {"prompt": "a", "activation_hooks": [hook]}),
        ("/v1/activations/hooks", {"hooks": [hook]}),
        ("/v1/sessions", {"prompt": "a", "breakpoints": [hook]}),
    ]


@pytest.mark.parametrize("name", LAYER_NAMES)
def test_a_layer_number_of_any_length_is_refused_by_name(server, name):
    for path, body in wherever_a_layer_is_named(name):
        assert "the model has layers 0 to 2" in server.error(path, 422, **body)["message"]


@pytest.mark.parametrize("name", LONG_NAMES)
def test_a_layer_name_longer_than_any_breaks_the_contract(server, name):
    for path, body in wherever_a_layer_is_named(name):
        assert server.error(path, 400, **body)["param"].endswith("layer_name")


@pytest.mark.parametrize("top_k", [256, 257, 258, LARGEST])
def test_sampling_from_more_tokens_than_there_are_samples_from_all(server, top_k):
    body = {"prompt": "a", "max_tokens": 3, "temperature": 1.0, "seed": 5}
    every = server.post("/v1/completions", **body)
    some = server.post("/v1/completions", **body, top_k=top_k)
    if top_k >= 257:  # the vocabulary's size
        assert some["choices"] == every["choices"]
    del body["seed"]
    assert server.post("/v1/completions", **body)["usage"]["completion_tokens"] > 0
