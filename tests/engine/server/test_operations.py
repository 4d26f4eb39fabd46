"""Each operation does what api.md says, on a real model of random weights."""

import base64
import weakref
from dataclasses import fields

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

from engine.contract import schemas as s
from engine.runs.sampling import Sampling
from tests.engine.server.conftest import HEADS, HIDDEN, LAYERS

TEXT = "in the beginning"
RESIDUALS = {"layer_name": "*", "component": "residual"}
LAYER_9 = {"layer_name": "9", "component": "residual"}
NO_COMPONENT = {"layer_name": "0", "component": "soul"}
NO_HEAD = {"layer_name": "0", "component": "key", "heads": [5]}


@pytest.fixture(scope="module")
def reference(tiny_model):
    """The same model, loaded by mlx-lm alone."""
    model, tokenizer = mlx_lm.load(str(tiny_model))
    return model, tokenizer


def logits_of(reference, tokens):
    model, _ = reference
    return np.array(model(mx.array([tokens])).astype(mx.float32))[0]


def test_health_names_the_model_and_is_ready(server):
    health = s.Health.model_validate(server.get("/health"))
    assert (health.status, health.model, health.ready, health.queue_depth) == (
        "ok",
        "tiny",
        True,
        0,
    )


def test_the_model_list_describes_the_model(server):
    (entry,) = s.ModelList.model_validate(server.get("/v1/models")).data
    assert (entry.id, entry.architecture, entry.layers, entry.heads, entry.hidden_size) == (
        "tiny",
        "llama",
        LAYERS,
        HEADS,
        HIDDEN,
    )
    assert (entry.intermediate_size, entry.max_position_embeddings) == (64, None)
    assert {"residual", "attention_pattern", "key"} <= {str(c) for c in entry.components}
    assert entry.absent_layers == {}


def test_tokens_go_there_and_back(server, reference):
    answer = server.post("/v1/tokenize", text=TEXT)
    assert answer["tokens"] == reference[1].encode(TEXT)
    assert "".join(answer["texts"]) == TEXT
    back = server.post("/v1/detokenize", tokens=answer["tokens"])
    assert back == {"text": TEXT, "texts": answer["texts"]}


def test_messages_are_tokenised_under_the_chat_template(server, reference):
    messages = [{"role": "user", "content": "hello"}]
    answer = server.post("/v1/tokenize", messages=messages)
    assert "".join(answer["texts"]) == "user: hello\nassistant:"


def test_forward_answers_the_models_own_logits(server, reference):
    tokens = reference[1].encode(TEXT)
    expected = logits_of(reference, tokens)
    answer = server.post("/v1/forward", tokens=tokens, logits="all", activation_format="array")
    forward = s.Forward.model_validate(answer)
    assert forward.logits.positions == [0, len(tokens) - 1]
    np.testing.assert_array_equal(np.float32(forward.logits.data)[0], expected)
    best = np.argsort(-expected[-1])[:10]
    assert [token.id for token in forward.top[0]] == best.tolist()
    probabilities = np.exp(expected[-1]) / np.exp(expected[-1]).sum()
    np.testing.assert_allclose(
        [token.probability for token in forward.top[0]], probabilities[best], rtol=1e-5
    )


def test_forward_takes_a_batch(server):
    batch = [[1, 2, 3], [3, 2, 1]]
    answer = server.post(
        "/v1/forward", prompt=batch, activation_hooks=[RESIDUALS], activation_format="metadata"
    )
    assert answer["tokens"] == batch
    assert answer["logits"]["shape"][:2] == [2, 1]
    assert answer["activations"]["layer_1_residual"][0]["shape"] == [2, 3, HIDDEN]
    assert len(answer["top"]) == 2


def test_forward_without_logits_answers_none(server):
    answer = server.post("/v1/forward", prompt=TEXT, logits="none", top_k=0)
    assert answer["logits"] is None
    assert answer["top"] == []


def test_a_greedy_completion_takes_the_likeliest_tokens(server, reference):
    tokens = reference[1].encode(TEXT)
    expected = []
    for _ in range(4):
        expected.append(int(logits_of(reference, tokens + expected)[-1].argmax()))
    answer = server.post("/v1/completions", prompt=TEXT, max_tokens=4, logprobs=2)
    completion = s.Completion.model_validate(answer)
    (choice,) = completion.choices
    assert choice.finish_reason == "length"
    assert choice.text == reference[1].decode(expected)
    names = reference[1].convert_ids_to_tokens(expected)
    assert names == ["à", "à", "à", "ø"]  # bytes that begin no character, as GPT-2 names them
    assert choice.logprobs.tokens == ["<0xE0>", "<0xE0>", "<0xE0>", "<0xF8>"]
    assert [len(top) for top in choice.logprobs.top_logprobs] == [2] * 4
    assert completion.usage == s.Usage(
        prompt_tokens=len(tokens),
        completion_tokens=4,
        total_tokens=len(tokens) + 4,
        prompt_tokens_details=s.PromptTokensDetails(cached_tokens=0),
        completion_tokens_details=s.CompletionDetails(reasoning_tokens=0),
    )


def test_the_log_probabilities_are_the_models(server, reference):
    tokens = reference[1].encode(TEXT)
    logits = logits_of(reference, tokens)[-1].astype(np.float64)
    expected = np.log(np.exp(logits) / np.exp(logits).sum()).max()
    answer = server.post("/v1/completions", prompt=tokens, max_tokens=1, logprobs=0)
    (given,) = answer["choices"][0]["logprobs"]["token_logprobs"]
    assert given == pytest.approx(expected, abs=1e-5)


def test_a_chat_completion_answers_the_templates_prompt(server):
    messages = [{"role": "user", "content": "hello"}]
    chat = server.post("/v1/chat/completions", messages=messages, max_tokens=5)
    plain = server.post("/v1/completions", prompt="user: hello\nassistant:", max_tokens=5)
    s.ChatCompletion.model_validate(chat)
    assert chat["choices"][0]["message"] == {
        "role": "assistant",
        "content": plain["choices"][0]["text"],
    }


def test_a_seed_repeats_a_sampled_completion(server):
    asked = {"prompt": TEXT, "temperature": 1.5, "seed": 7, "max_tokens": 12}
    first, second = (server.post("/v1/completions", **asked)["choices"] for _ in range(2))
    other = server.post("/v1/completions", **(asked | {"seed": 8}))["choices"]
    assert first == second != other


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 - 1, -(2**63)])
def test_what_comes_after_a_seed_of_any_64_bits_is_drawn_anew(server, seed):
    asked = {"prompt": TEXT, "temperature": 1.5, "max_tokens": 12, "top_k": 40}
    texts = [
        server.post("/v1/completions", **asked, **seeded)["choices"][0]["text"]
        for seeded in ({"seed": seed}, {}, {"seed": seed}, {}, {"seed": 1})
    ]
    assert texts[0] == texts[2]
    assert len(set(texts)) == 4


def test_a_stop_string_ends_the_text_before_it(server):
    whole = server.post("/v1/completions", prompt=TEXT, max_tokens=8, temperature=2, seed=3)
    text = whole["choices"][0]["text"]
    answer = server.post(
        "/v1/completions", prompt=TEXT, max_tokens=8, temperature=2, seed=3, stop=[text[3:5]]
    )
    assert answer["choices"][0]["text"] == text[: text.index(text[3:5])]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_biased_token_is_the_one_chosen(server):
    answer = server.post("/v1/completions", prompt=TEXT, max_tokens=3, logit_bias={"65": 100})
    token = server.post("/v1/detokenize", tokens=[65, 65, 65])["text"]
    assert answer["choices"][0]["text"] == token


def test_a_completion_with_activations_has_one_record_a_pass(server, reference):
    prompt = len(reference[1].encode(TEXT))
    answer = server.post(
        "/v1/completions/with_activations", prompt=TEXT, max_tokens=3, activation_hooks=[RESIDUALS]
    )
    completion = s.CompletionWithActivations.model_validate(answer)
    assert list(completion.activations) == [f"layer_{n}_residual" for n in range(LAYERS)]
    records = completion.activations["layer_0_residual"]
    assert [record.step for record in records] == [0, 1, 2]
    assert [record.shape for record in records] == [[1, prompt, HIDDEN]] + [[1, 1, HIDDEN]] * 2
    assert [record.positions for record in records] == [
        [0, prompt - 1],
        [prompt, prompt],
        [prompt + 1, prompt + 1],
    ]


def test_a_kept_capture_is_listed_described_read_and_forgotten(server):
    asked = {"prompt": TEXT, "activation_hooks": [RESIDUALS], "activation_format": "array"}
    answer = server.post("/v1/forward", **asked)
    capture_id = answer["capture_id"]
    assert capture_id in [c["capture_id"] for c in server.get("/v1/activations")["captures"]]

    manifest = s.CaptureManifest.model_validate(server.get(f"/v1/activations/{capture_id}"))
    body = server.http.get(f"/v1/activations/{capture_id}/tensors").content
    tensors = load_safetensors(body)
    assert manifest.bytes == sum(tensor.nbytes for tensor in tensors.values())
    for hook_id, (record,) in answer["activations"].items():
        name = manifest.activations[hook_id][0].tensor
        np.testing.assert_array_equal(tensors[name], np.float32(record["data"]))

    assert server.http.delete(f"/v1/activations/{capture_id}").json() == {"capture_id": capture_id}
    gone = server.http.get(f"/v1/activations/{capture_id}")
    assert gone.status_code == 404
    assert "deleted on request" in gone.json()["error"]["message"]


def test_tensors_are_chosen_by_hook_and_step(server):
    answer = server.post(
        "/v1/completions/with_activations", prompt=TEXT, max_tokens=3, activation_hooks=[RESIDUALS]
    )
    path = f"/v1/activations/{answer['capture_id']}/tensors"
    one = server.http.get(path, params={"hook_id": "layer_1_residual", "step": 2})
    assert list(load_safetensors(one.content)) == ["layer_1_residual/2"]
    step = server.http.get(path, params={"step": 0})
    assert set(load_safetensors(step.content)) == {f"layer_{n}_residual/0" for n in range(LAYERS)}
    assert server.http.get(path, params={"hook_id": "nobody"}).status_code == 404


def test_a_model_loads_answers_under_its_id_and_unloads(server, tiny_model):
    entry = server.post("/v1/models/load", model_path=str(tiny_model), model_id="second")
    assert s.ModelEntry.model_validate(entry).id == "second"
    assert server.post("/v1/completions", prompt="a", max_tokens=1)["model"] == "second"
    assert server.post("/v1/completions", prompt="a", max_tokens=1, model="tiny")["model"] == "tiny"
    server.post("/v1/models/unload", model="second")
    assert (
        "loaded: tiny"
        in server.error("/v1/completions", 404, prompt="a", model="second")["message"]
    )


def test_an_unloaded_model_leaves_memory(server, tiny_model):
    server.post("/v1/models/load", model_path=str(tiny_model), model_id="second")
    server.post("/v1/forward", prompt="a", activation_hooks=[RESIDUALS])
    server.post("/v1/completions", prompt="a", max_tokens=2)
    model = weakref.ref(server.service.models.get("second").kit.model)
    server.post("/v1/models/unload", model="second")
    assert model() is None


def test_loading_what_is_loaded_answers_it_and_another_under_its_name_is_refused(
    server, tiny_model
):
    path = str(tiny_model)
    assert server.post("/v1/models/load", model_path=path)["id"] == "tiny"
    error = server.error("/v1/models/load", 422, model_path=path, dtype="float16")
    assert "tiny" in error["message"]
    assert len(server.get("/v1/models")["data"]) == 1


@pytest.mark.parametrize("form", ["array", "base64"])
def test_both_textual_forms_hold_the_same_numbers(server, form):
    asked = {"prompt": TEXT, "activation_hooks": [RESIDUALS], "activation_format": form}
    answer = server.post("/v1/forward", **asked)
    record = answer["activations"]["layer_2_residual"][0]
    if form == "array":
        values = np.float32(record["data"])
    else:
        values = np.frombuffer(base64.b64decode(record["data_base64"]), "<f4")
    kept = server.http.get(f"/v1/activations/{answer['capture_id']}/tensors").content
    np.testing.assert_array_equal(
        values.reshape(record["shape"]), load_safetensors(kept)["layer_2_residual/0"]
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/forward", {"tokens": [1], "activation_hooks": [LAYER_9]}, 422, "0 to 2"),
        ("/v1/forward", {"tokens": [1], "activation_hooks": [NO_COMPONENT]}, 400, "residual"),
        ("/v1/forward", {"tokens": [1], "activation_hooks": [NO_HEAD]}, 422, "heads 0 to 1"),
        ("/v1/forward", {"tokens": [9999]}, 422, "0 to 256"),
        ("/v1/forward", {"tokens": [[1, 2], [1]]}, 422, "equal length"),
        ("/v1/forward", {}, 400, "either prompt or tokens"),
        ("/v1/completions", {}, 400, "prompt"),
        ("/v1/completions", {"prompt": ""}, 400, "prompt"),
        ("/v1/completions", {"prompt": "a", "temprature": 1}, 400, "temprature"),
        ("/v1/completions", {"prompt": "a", "max_tokens": 0}, 400, "max_tokens"),
        ("/v1/completions", {"prompt": "a", "model": "none"}, 404, "tiny"),
        ("/v1/chat/completions", {"messages": []}, 400, "messages"),
        ("/v1/models/load", {"model_path": "/etc"}, 403, "--model-root"),
        ("/v1/models/load", {"model_path": "http://example.com/m"}, 403, "--model-root"),
        ("/v1/models/unload", {"model": "none"}, 404, "tiny"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_so_is_what_exists(server, path, body, status, words):
    error = server.error(path, status, **body)
    assert error["code"] == status
    assert words in error["message"]


def test_two_hooks_of_one_id_are_a_conflict(server):
    error = server.error("/v1/forward", 409, tokens=[1], activation_hooks=[RESIDUALS, RESIDUALS])
    assert error["type"] == "duplicate_hook"


def test_malformed_json_and_unknown_routes_are_answered_in_json(server):
    broken = server.http.post("/v1/forward", content=b'{"prompt": "a"')
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request")
    assert server.http.get("/v1/nothing").json()["error"]["code"] == 404
    assert server.http.get("/v1//models").json()["error"]["code"] == 404
    wrong = server.http.put("/health")
    assert wrong.json()["error"]["code"] == 405
    assert "GET" in wrong.headers["Allow"]


def test_a_body_may_come_in_chunks(server):
    chunks = iter([b'{"tex', b't": "a', b'b"}'])
    assert server.http.post("/v1/tokenize", content=chunks).json()["texts"] == ["a", "b"]


def test_options_that_a_request_leaves_out_are_those_of_the_engine():
    shared = {field.name: field.default for field in fields(Sampling)}
    declared = s.Sampling.model_fields
    names = (shared.keys() & declared.keys()) - {"max_tokens"}  # until the end, in requests
    assert {"temperature", "top_p", "top_k", "min_p", "seed"} <= names
    assert {name: declared[name].default for name in names} == {n: shared[n] for n in names}
