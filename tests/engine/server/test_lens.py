"""The logit lens over HTTP."""

from engine.contract import schemas as s
from tests.engine.server.conftest import LAYERS

TEXT = "in the beginning"


def test_the_lens_lists_the_likeliest_tokens_of_each_layer_at_each_position(server):
    lens = s.LogitLens.model_validate(server.post("/v1/logit_lens", prompt=TEXT, top_k=4))
    assert "".join(lens.texts) == TEXT
    assert [layer.layer for layer in lens.layers] == list(range(LAYERS))
    for layer in lens.layers:
        assert [len(top) for top in layer.top] == [4] * len(lens.tokens)


def test_the_last_layer_of_the_lens_lists_what_the_model_predicts(server):
    lens = s.LogitLens.model_validate(server.post("/v1/logit_lens", prompt=TEXT, top_k=4))
    forward = s.Forward.model_validate(server.post("/v1/forward", prompt=TEXT, top_k=4))
    assert lens.layers[-1].top[-1] == forward.top[0]


def test_a_lens_without_tokens_to_list_is_refused(server):
    assert server.error("/v1/logit_lens", 400, prompt=TEXT, top_k=0)["param"] == "top_k"
