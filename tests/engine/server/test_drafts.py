"""Tokens that a draft model proposes over HTTP: the text and captures are those without it."""

import shutil

import mlx.core as mx
import pytest

from tests.engine.server.conftest import TEMPLATE, running, save_tiny_llama
from tests.engine.server.test_served_prefixes import TEXT, assert_alike
from tests.engine.server.test_streaming import streamed

CAPTURING = "/v1/completions/with_activations"
COUNTS = ("total", "accepted", "rejected", "ignored")


@pytest.fixture(scope="module")
def models(tiny_model, tmp_path_factory):
    """The tiny model, one that differs a little, one of another vocabulary."""
    root = tmp_path_factory.mktemp("drafts")
    for name in ("tiny", "noisy"):
        shutil.copytree(tiny_model, root / name)
    file = str(root / "noisy" / "model.safetensors")
    weights = dict(mx.load(file).items())
    mx.random.seed(3)
    name = "model.layers.0.mlp.down_proj.weight"
    weights[name] = weights[name] + 0.5 * mx.random.normal(weights[name].shape)
    mx.save_safetensors(str(root / "noisy" / "new.safetensors"), weights)
    (root / "noisy" / "new.safetensors").replace(file)
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast.from_pretrained(tiny_model)
    fast.add_tokens(["another"])
    fast.chat_template = TEMPLATE
    save_tiny_llama(root / "other", fast, vocab_size=len(fast))
    return root


@pytest.fixture(scope="module")
def server(models):
    with running(models / "tiny", model_roots=(models,)) as server:
        for name in ("noisy", "other"):
            server.post("/v1/models/load", model_path=str(models / name))
        server.post(
            "/v1/models/load", model_path=str(models / "tiny"), model_id="rotating", max_kv_size=32
        )
        server.post("/v1/models/load", model_path=str(models / "tiny"), model_id="twin")
        yield server


def counts(stats):
    return [stats[f"{name}_draft_tokens_count"] for name in COUNTS]


@pytest.mark.parametrize("draft", ["noisy", "twin"])
def test_a_draft_changes_neither_text_nor_captures(server, draft):
    asked = {"model": "tiny", "prompt": TEXT, "max_tokens": 23}
    hooks = [
        {"layer_name": "*", "component": component}
        for component in ("residual", "attention_pattern", "key")
    ]
    capturing = asked | {"activation_hooks": hooks, "activation_format": "array", "logprobs": 2}
    change = {"layer_name": "1", "component": "mlp", "operation": "scaling", "factor": 2.0}
    for more in ({}, {"interventions": [change]}, {"frequency_penalty": 1.0}):
        plain = server.post(CAPTURING, **capturing, **more)
        reply = server.post(CAPTURING, **capturing, **more, draft_model=draft, num_draft_tokens=4)
        assert_alike(reply["choices"], plain["choices"])
        assert_alike(reply["activations"], plain["activations"])
        assert "draft_model" not in plain["stats"]
        assert reply["stats"]["draft_model"] == draft
        total, accepted, rejected, ignored = counts(reply["stats"])
        assert total == accepted + rejected + ignored
        assert (accepted < total) or draft == "twin"
        if (
            draft == "twin" and not more
        ):  # 4 proposed and one more a pass, of 23 tokens 3 in the last
            assert [total, accepted, rejected, ignored] == [19, 19, 0, 0]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/api/v0/completions"])
def test_all_forms_of_reply_take_a_draft(server, path):
    said = [{"role": "user", "content": TEXT}]
    asked = {"messages": said} if "chat" in path else {"prompt": TEXT}
    asked |= {"model": "tiny", "max_tokens": 14}
    drafted = {"draft_model": "noisy", "num_draft_tokens": 2}
    plain = server.post(path, **asked)
    reply = server.post(path, **asked, **drafted)
    assert reply["choices"] == plain["choices"]
    total, *parts = counts(reply["stats"])
    assert total == sum(parts) > 0
    if "v0" not in path:
        chunks = streamed(server, path, **asked, **drafted, stream=True)
        alone = streamed(server, path, **asked, stream=True)
        assert [each["choices"] for each in chunks] == [each["choices"] for each in alone]
        assert counts(chunks[-1]["stats"]) == [total, *parts]
    several = server.post(path, **asked, **drafted, n=2)
    assert counts(several["stats"]) == [2 * each for each in (total, *parts)]


def test_what_follows_the_end_of_a_text_is_ignored(server):
    asked = {"model": "tiny", "prompt": TEXT, "max_tokens": 60, "draft_model": "twin"}
    asked |= {"num_draft_tokens": 5, "logit_bias": {str(each): 30 for each in range(64, 90)}}
    asked |= {"frequency_penalty": 2.0}
    text = server.post("/v1/completions", **asked)["choices"][0]["text"]
    cut_short = 0
    for stop in sorted(set(text[:12])):
        reply = server.post("/v1/completions", **asked, stop=stop)
        assert reply["choices"][0]["text"] == text[: text.index(stop)]
        made = reply["usage"]["completion_tokens"]
        total, accepted, rejected, ignored = counts(reply["stats"])
        assert total == 5 * -(-made // 6)  # a pass chooses five that are proposed and one more
        assert (accepted, rejected, ignored) == (made - made // 6, 0, total - accepted)
        cut_short += ignored
    assert cut_short > 0


def test_drafts_that_cannot_be_are_refused_by_name(server):
    asked = {"model": "tiny", "prompt": TEXT, "max_tokens": 3}
    for draft, status, words in (
        ("missing", 404, "draft_model: No model 'missing' is loaded; loaded: tiny, noisy"),
        ("tiny", 422, "draft_model: 'tiny' is the model itself"),
        ("other", 422, "draft_model: the vocabulary of 'other', 258 tokens, is not that of 'tiny'"),
    ):
        error = server.error("/v1/completions", status, **asked, draft_model=draft)
        assert words in error["message"]
    wrong = asked | {"model": "rotating", "draft_model": "noisy"}
    error = server.error("/v1/completions", 422, **wrong)
    assert "the model's cache, RotatingKVCache, cannot take rejected drafts" in error["message"]
    for wrong in ({"num_draft_tokens": 0}, {"num_draft_tokens": 65}, {"draft_model": 1}):
        assert server.http.post("/v1/completions", json=asked | wrong).status_code == 400
    hooks = [{"layer_name": "0", "component": "mlp"}]
    error = server.error(
        "/v1/completions/with_breakpoints", 422, **asked, draft_model="noisy", breakpoints=hooks
    )
    assert "draft_model" in error["message"]
