"""Chat templates render as their authors wrote them, or say why they do not."""

import chat_templates as templates
import pytest
from tokenizer_kinds import wrapped

from engine.errors import ChatTemplateError, InvalidRequestError
from engine.runs.chat import ChatOptions, chat_tokens

USER = {"role": "user", "content": "true Mary"}
ASSISTANT = {"role": "assistant", "content": "Mary and"}
SYSTEM = {"role": "system", "content": "drink"}
KINDS = {
    "chatml": ("byte_level", templates.CHATML, {}),
    "llama3": ("llama3", templates.LLAMA3, {"bos_token": "<|begin_of_text|>"}),
    "mistral": ("mistral", templates.MISTRAL, {"bos_token": "<s>", "eos_token": "</s>"}),
    "gemma": ("gemma", templates.GEMMA, {"bos_token": "<bos>"}),
    "thinking": ("byte_level", templates.THINKING, {}),
    "generation": ("byte_level", templates.WITHOUT_GENERATION, {}),
    "broken": ("tekken", templates.BROKEN, {}),
    "undefined": ("gemma", templates.UNDEFINED, {}),
    "none": ("llama2", None, {}),
}


def tokenizer_of(name: str):
    kind, template, special = KINDS[name]
    tokenizer = wrapped(kind, **special)
    if template is None:
        return tokenizer
    tokenizer.chat_template = template
    return type(tokenizer)(tokenizer._tokenizer)  # which looks for its template once


def rendered(name: str, *messages: dict, **options) -> str:
    tokenizer = tokenizer_of(name)
    return tokenizer.decode(chat_tokens(tokenizer, list(messages), ChatOptions(**options)))


@pytest.mark.parametrize("name", ["thinking", "llama3", "mistral", "gemma"])
def test_messages_are_the_tokens_that_transformers_renders(name):
    tokenizer = tokenizer_of(name)
    expected = tokenizer._tokenizer.apply_chat_template(
        [USER, ASSISTANT, USER], add_generation_prompt=True, return_dict=False
    )
    assert chat_tokens(tokenizer, [USER, ASSISTANT, USER], ChatOptions()) == expected


@pytest.mark.parametrize(
    ("name", "messages", "sentence"),
    [
        ("gemma", [SYSTEM, USER], "System role not supported"),
        ("gemma", [USER, USER], "Conversation roles must alternate user/assistant/user/..."),
        ("mistral", [SYSTEM, USER], "Conversation roles must alternate user/assistant/user/..."),
        ("mistral", [USER, SYSTEM], "Only user and assistant roles are supported!"),
        ("mistral", [USER, USER], "Conversation roles must alternate user/assistant/user/..."),
        ("none", [USER], "no chat template"),
        ("broken", [USER], "unexpected '}'"),
        ("undefined", [USER], "has no attribute 'parts'"),
    ],
)
def test_a_template_that_refuses_messages_is_an_error_in_its_own_words(name, messages, sentence):
    with pytest.raises(ChatTemplateError) as error:
        rendered(name, *messages)
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", ["chatml", "llama3", "mistral", "gemma"])
def test_an_answer_is_continued_where_it_ends(name):
    whole = rendered(name, USER, ASSISTANT, add_generation_prompt=False)
    opened = rendered(name, USER, ASSISTANT, continue_final_message=True)
    assert opened.endswith("Mary and")
    assert whole.startswith(opened)
    assert len(whole) > len(opened)


def test_one_answer_is_not_continued_and_begun_at_once():
    both = {"continue_final_message": True, "add_generation_prompt": True}
    with pytest.raises(InvalidRequestError, match="continue_final_message"):
        rendered("chatml", USER, ASSISTANT, **both)


def test_a_final_message_that_the_template_drops_is_not_continued():
    with pytest.raises(ChatTemplateError, match="final message"):
        rendered("generation", USER, ASSISTANT, continue_final_message=True)


def test_thinking_is_switched_by_the_variable_that_the_template_has():
    assert rendered("chatml", USER, enable_thinking=False).endswith("<think></think>")
    assert not rendered("chatml", USER, enable_thinking=True).endswith("<think></think>")
    assert rendered("thinking", USER, enable_thinking=True) == "true Mary<think>"
    assert rendered("thinking", USER, enable_thinking=False) == "true Mary"
    assert rendered("llama3", USER, enable_thinking=False) == rendered("llama3", USER)
    with pytest.raises(InvalidRequestError, match="enable_thinking"):
        rendered("llama3", USER, enable_thinking=True)
    with pytest.raises(InvalidRequestError, match="enable_thinking"):
        rendered("chatml", USER, enable_thinking=True, variables={"enable_thinking": False})


def test_variables_reach_the_template_and_unknown_ones_are_refused_by_name():
    assert rendered("generation", USER, variables={"date": " Mary"}) == "true Mary Mary"
    without = rendered("chatml", USER, variables={"enable_thinking": False})
    assert without.endswith("<think></think>")
    for name in ("dates", "tokenize", "messages", "add_generation_prompt", "chat_template"):
        with pytest.raises(InvalidRequestError, match=rf"{name}.* there are: date$"):
            rendered("generation", USER, variables={name: "x"})


def test_parts_of_text_are_one_text_and_names_reach_the_template():
    parts = [{"type": "text", "text": "true "}, {"type": "text", "text": "Mary"}]
    for name in ("chatml", "llama3", "mistral", "gemma"):
        assert rendered(name, USER | {"content": parts}) == rendered(name, USER)
    assert "user John\ntrue Mary" in rendered("chatml", USER | {"name": "John"})
