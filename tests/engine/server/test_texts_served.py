"""Over HTTP: special tokens once, exact token texts, and templates that refuse, on three kinds of
tokenizer."""

from collections.abc import Iterator

import chat_templates as templates
import openai
import pytest
from tokenizer_kinds import KINDS
from transformers import PreTrainedTokenizerFast

from tests.engine.server.conftest import Server, running, save_tiny_llama

PAST_THE_END = 8
"""Ids that the model has and its tokenizer does not."""
ALIKE = {"llama2": [",", "<0x2C>"], "gemma": [".", "<0x2E>"], "llama3": ["true", "Ġtrue"]}
TEMPLATES = {"llama2": templates.MISTRAL, "gemma": templates.GEMMA, "llama3": templates.LLAMA3}
BEGINNINGS = {"llama2": "<s>", "gemma": "<bos>", "llama3": "<|begin_of_text|>"}
ENDINGS = {"llama2": "</s>", "gemma": "<eos>", "llama3": "<|eot_id|>"}
MARY = "true Mary and John"
USER = {"role": "user", "content": MARY}


class Served(Server):
    kind: str
    tokenizer: PreTrainedTokenizerFast

    @property
    def beginning(self) -> int:
        return self.tokenizer.bos_token_id


@pytest.fixture(scope="module", params=TEMPLATES)
def served(request, tmp_path_factory) -> Iterator[Served]:
    kind = request.param
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=KINDS[kind](), bos_token=BEGINNINGS[kind], eos_token=ENDINGS[kind]
    )
    tokenizer.chat_template = TEMPLATES[kind]
    folder = tmp_path_factory.mktemp("kinds") / kind
    save_tiny_llama(folder, tokenizer, len(tokenizer) + PAST_THE_END)
    with running(folder) as server:
        served = Served(server.service, server.listener, server.http)
        served.kind, served.tokenizer = kind, tokenizer
        yield served


def test_tokens_read_and_written_again_are_the_same(served):
    for text in (MARY, f"{MARY}, 🙂 日", f" {MARY}", BEGINNINGS[served.kind] + MARY):
        tokens = served.post("/v1/tokenize", text=text)["tokens"]
        assert tokens.count(served.beginning) == 1
        for _ in range(3):
            read = served.post("/v1/detokenize", tokens=tokens)
            assert served.post("/v1/tokenize", text=read["text"])["tokens"] == tokens
            assert read["texts"][0] == BEGINNINGS[served.kind]


def test_wherever_text_is_taken_it_begins_once_or_not_at_all(served):
    begun = BEGINNINGS[served.kind] + MARY
    plain = served.tokenizer.encode(MARY, add_special_tokens=False)

    def prompts_of(path: str, prompt: str, **body) -> list[list[int]]:
        if path == "/v1/tokenize":
            return [served.post(path, text=prompt, **body)["tokens"]]
        if path == "/v1/completions":
            usage = served.post(path, prompt=prompt, max_tokens=1, **body)["usage"]
            return [[0] * usage["prompt_tokens"]]
        tokens = served.post(path, prompt=prompt, **body)["tokens"]
        return tokens if isinstance(tokens[0], list) else [tokens]

    for path in ("/v1/tokenize", "/v1/completions", "/v1/forward", "/v1/logit_lens"):
        for prompt, body, added in (
            (MARY, {}, 1),
            (begun, {}, 1),
            (MARY, {"add_special_tokens": True}, 1),
            (MARY, {"add_special_tokens": False}, 0),
        ):
            (tokens,) = prompts_of(path, prompt, **body)
            given = served.tokenizer.encode(prompt, add_special_tokens=False)
            expected = given if given[0] == served.beginning else [0, *plain][1 - added :]
            assert len(tokens) == len(expected), (path, prompt, body)


def test_circuits_take_text_with_or_without_special_tokens(served):
    task = {"clean": MARY, "corrupted": MARY.replace("John", "Mary"), "answer": " John"}
    for special, prompt in ((True, MARY), (False, MARY)):
        ids = served.tokenizer.encode(prompt, add_special_tokens=special)
        changed = served.tokenizer.encode(task["corrupted"], add_special_tokens=special)
        given = task | {"clean": ids, "corrupted": changed, "distractor": " Mary"}
        by_text = task | {"distractor": " Mary", "add_special_tokens": special}
        where = {"component": "residual", "layers": [1]}
        texts = served.post("/v1/circuits/patch", **by_text, **where)
        assert texts == served.post("/v1/circuits/patch", **given, **where)


def test_a_word_is_found_as_one_token_or_its_parts_are_told(served):
    *_, mary = served.tokenizer.encode("and Mary", add_special_tokens=False)
    found = served.post("/v1/tokenize", text=" Mary", single=True)
    assert found == {"tokens": [mary], "texts": [" Mary"]}
    for answer in ("Mary true", " Mary true"):
        error = served.error(
            "/v1/circuits/patch",
            422,
            clean=MARY,
            corrupted=MARY,
            answer=answer,
            distractor=" John",
            component="residual",
        )
        assert error["param"] == "answer"
        assert f"' Mary' ({mary})" in error["message"]
        assert "' true'" in error["message"]


def test_the_legacy_logprobs_have_an_entry_for_each_of_several_tokens_that_read_alike(served):
    size = len(served.tokenizer)
    alike = served.tokenizer.convert_tokens_to_ids(ALIKE[served.kind])
    wanted = [*alike, size + 1, size + 2, size + 3]
    answer = served.post(
        "/v1/completions",
        prompt=MARY,
        max_tokens=2,
        logprobs=5,
        logit_bias={str(token): 90 + n for n, token in enumerate(wanted)},
    )
    logprobs = answer["choices"][0]["logprobs"]
    for chosen, likeliest in zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True):
        assert len(likeliest) == 5
        assert {f"token_id:{size + n}" for n in (1, 2, 3)} < likeliest.keys()
        assert likeliest[chosen] == max(likeliest.values())


def test_chat_logprobs_tell_the_bytes_of_each_token(served):
    texts = "日, true"
    tokens = served.tokenizer.encode(texts, add_special_tokens=False)
    told = b""
    for token in tokens:
        answer = served.post(
            "/v1/chat/completions",
            messages=[USER],
            max_tokens=1,
            logprobs=True,
            top_logprobs=1,
            logit_bias={str(token): 100},
        )
        (entry,) = answer["choices"][0]["logprobs"]["content"]
        assert entry["top_logprobs"][0]["bytes"] == entry["bytes"]
        told += bytes(entry["bytes"])
    assert told.removeprefix(b" ") == texts.encode()


def test_what_a_template_refuses_is_refused_on_messages_in_its_words(served):
    system = {"role": "system", "content": "drink"}
    refused = {
        "llama2": ([[system, USER], [USER, USER]], "Conversation roles must alternate"),
        "gemma": ([[system, USER]], "System role not supported"),
        "llama3": ([], ""),
    }
    bodies, sentence = refused[served.kind]
    for messages in bodies:
        for path in (
            "/v1/chat/completions",
            "/v1/tokenize",
            "/v1/chat/completions/with_activations",
        ):
            error = served.error(path, 422, messages=messages)
            assert (error["param"], sentence in error["message"]) == ("messages", True)
        stream = served.error("/v1/chat/completions", 422, messages=messages, stream=True)
        assert stream["param"] == "messages"


def test_an_answer_can_be_begun_for_the_model(served):
    messages = [USER, {"role": "assistant", "content": "and"}]
    opened = served.tokenizer.apply_chat_template(
        messages, continue_final_message=True, return_dict=False
    )
    asked = {"messages": messages, "continue_final_message": True}
    assert served.post("/v1/tokenize", **asked)["tokens"] == opened
    chat = served.post("/v1/chat/completions", **asked, max_tokens=3)
    plain = served.post("/v1/completions", prompt=opened, max_tokens=3)
    assert chat["choices"][0]["message"]["content"] == plain["choices"][0]["text"]
    both = {"add_generation_prompt": True, **asked}
    assert served.error("/v1/chat/completions", 422, **both)["param"] == "continue_final_message"
    asked["add_generation_prompt"] = False
    assert served.post("/v1/tokenize", **asked)["tokens"] == opened


def test_rendered_messages_begin_once(served):
    tokens = served.tokenizer.apply_chat_template(
        [USER], add_generation_prompt=True, return_dict=False
    )
    for special in (None, True, False):
        body = {"messages": [USER], "add_special_tokens": special}
        assert served.post("/v1/tokenize", **body)["tokens"] == tokens
        usage = served.post("/v1/chat/completions", **body, max_tokens=1)["usage"]
        assert usage["prompt_tokens"] == len(tokens)


def test_variables_that_a_template_does_not_have_are_refused_by_name(served):
    for body, param in (
        ({"chat_template_kwargs": {"colour": "red"}}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"tokenize": False}}, "chat_template_kwargs"),
        ({"enable_thinking": True}, "enable_thinking"),
    ):
        error = served.error("/v1/chat/completions", 422, messages=[USER], **body)
        assert error["param"] == param
    text = served.error("/v1/tokenize", 422, text=MARY, continue_final_message=True)
    assert text["param"] == "continue_final_message"
    variables = {"chat_template_kwargs": {"bos_token": "true"}}
    rendered = served.post("/v1/tokenize", messages=[USER], **variables)
    assert served.beginning not in rendered["tokens"]


def test_openais_client_sends_parts_and_names(served):
    with openai.OpenAI(base_url=f"{served.listener.url}/v1", api_key="none") as client:
        parts = [{"type": "text", "text": "true Mary"}, {"type": "text", "text": " and John"}]
        message = {"role": "user", "content": parts, "name": "John"}
        asked = {"model": served.kind, "max_tokens": 3, "logprobs": True, "temperature": 0}
        of_parts = client.chat.completions.create(messages=[message], **asked)
        of_text = client.chat.completions.create(messages=[USER], **asked)
    assert of_parts.usage == of_text.usage
    assert of_parts.choices[0].logprobs == of_text.choices[0].logprobs
    image = {"type": "image_url", "image_url": {"url": "http://localhost/x.png"}}
    wrong = {"role": "user", "content": [image]}
    error = served.error("/v1/chat/completions", 400, messages=[wrong])
    assert error["param"].startswith("messages.0.content")


def test_a_model_without_a_template_says_so(tmp_path):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=KINDS["tekken"](), eos_token="</s>")
    save_tiny_llama(tmp_path / "plain", tokenizer, len(tokenizer))
    with running(tmp_path / "plain") as server:
        error = server.error("/v1/chat/completions", 422, messages=[USER])
        assert error["param"] == "messages"
        assert "no chat template" in error["message"]
