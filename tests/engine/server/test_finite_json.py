"""What the contract calls a number is one in every reply, or the request fails and says where."""

import math

import numpy as np
import pytest

from engine.server.errors import NotFiniteError
from engine.server.wire.json_text import Masked, json_text
from tests.engine.server.conftest import running

NOT_FINITE = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("number", NOT_FINITE)
@pytest.mark.parametrize("kind", [float, np.float64, np.float32, lambda n: np.array([0, n])])
def test_a_number_that_json_lacks_is_never_null(number, kind):
    body = {"a": 1, "b": [{"c": 0.5}, {"c": kind(number)}]}
    with pytest.raises(NotFiniteError, match=r"b\.1\.c of the reply"):
        json_text(body)


def test_null_is_a_masked_score_where_the_contract_says_so():
    assert json_text({"data": Masked(np.float32([1, -np.inf]))}) == b'{"data":[1.0,null]}'
    assert json_text({"a": [1, 2.5, None, np.arange(2)]}) == b'{"a":[1,2.5,null,[0,1]]}'


@pytest.fixture
def masking(tiny_model):
    """A server of a model that gives token 5 a logit of -inf, and those from 250 on too."""
    with running(tiny_model) as server:
        structure = server.service.models.get(None).kit.structure
        kind = type(structure.model)

        class Masking(kind):
            def __call__(self, *args, **options):
                logits = super().__call__(*args, **options)
                logits[..., 5] = -math.inf
                logits[..., 250:] = -math.inf
                return logits

        structure.model.__class__ = Masking
        yield server


def test_tokens_of_probability_0_are_no_alternatives(masking):
    bias = {str(token): -100 for token in range(6, 250)}
    reply = masking.post(
        "/v1/completions", prompt="a", max_tokens=2, logprobs=20, logit_bias=bias, temperature=1
    )
    for top in reply["choices"][0]["logprobs"]["top_logprobs"]:
        assert 6 <= len(top) <= 21
        assert all(isinstance(each, float) for each in top.values())
    top = masking.post("/v1/forward", prompt="a", top_k=1000)["top"][0]
    assert len(top) == 249
    assert all(isinstance(each[name], float) for each in top for name in ("logit", "probability"))


def test_a_scored_token_of_probability_0_is_an_error_and_no_null(masking):
    body = {"echo": True, "max_tokens": 0, "logprobs": 1}
    error = masking.error("/v1/completions", 422, prompt=[1, 5, 2], **body)
    assert "infinite" in error["message"]
