"""Text becomes tokens once: no special token is added twice, and tokens read back."""

import random

import pytest
from tokenizer_kinds import KINDS, LOSSLESS, wrapped

from engine.runs.encoding import decode, encode, framed

ALPHABET = [*"ab ,.:", "  ", "Mary", " Mary", "true", "\n", "é", "日", "🙂", "👨‍👩‍👧", "\u0301"]
KNOWN = [*"ab ,.:", "  ", "Mary", " Mary", "true", "\n"]
"""What a vocabulary without bytes can write too."""
BEGINNINGS = {
    "llama3": "<|begin_of_text|>",
    "tekken": "<s>",
    "llama2": "<s>",
    "mistral": "<s>",
    "gemma": "<bos>",
    "wordpiece": "[CLS]",
}
ENDINGS = {"unigram": "</s>", "wordpiece": "[SEP]"}


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokenizer(kind):
    return wrapped(kind)


def random_texts(alphabet: list[str], count: int = 300) -> list[str]:
    chance = random.Random(11)
    return ["".join(chance.choices(alphabet, k=chance.randint(1, 25))) for _ in range(count)]


def test_a_plain_text_gets_what_its_tokenizer_adds(tokenizer):
    for text in random_texts(ALPHABET):
        assert encode(tokenizer, text).tokens == tokenizer.encode(text)
        plain = tokenizer.encode(text, add_special_tokens=False)
        assert encode(tokenizer, text, add_special_tokens=False).tokens == plain


@pytest.mark.parametrize("text", ["Mary", " Mary true", "", "true\nMary"])
def test_a_text_that_begins_or_ends_specially_does_so_once(tokenizer, kind, text):
    begin, end = BEGINNINGS.get(kind, ""), ENDINGS.get(kind, "")
    special = [tokenizer.convert_tokens_to_ids(name) for name in (begin, end) if name]
    for written in (text, begin + text, text + end, begin + text + end):
        tokens = encode(tokenizer, written).tokens
        assert [tokens.count(each) for each in special] == [1] * len(special), written
    whole = tokenizer.encode(begin + text + end, add_special_tokens=False)
    assert encode(tokenizer, begin + text + end).tokens == whole


def test_a_text_read_from_tokens_has_these_tokens(tokenizer, kind):
    names = [BEGINNINGS.get(kind, ""), ENDINGS.get(kind, "")]
    alphabet = [*(ALPHABET if kind in LOSSLESS else KNOWN), *names]
    for text in random_texts(alphabet):
        tokens = encode(tokenizer, text).tokens
        read = decode(tokenizer, tokens)
        assert encode(tokenizer, read).tokens == tokens, text
        assert decode(tokenizer, encode(tokenizer, read).tokens) == read


def test_a_text_reads_as_it_was_written_behind_its_beginning(kind, tokenizer):
    if kind in LOSSLESS:
        for text in random_texts(ALPHABET):
            read = decode(tokenizer, encode(tokenizer, text).tokens)
            # This kind begins a text with a space, unless a special token comes before it.
            space = " " if kind == "mistral" and text[0] != " " else ""
            assert read == BEGINNINGS.get(kind, "") + space + text


def test_messages_that_begin_themselves_are_not_begun_again():
    tokenizer = wrapped("llama3")
    begun = tokenizer.encode("<|begin_of_text|>true", add_special_tokens=False)
    assert framed(tokenizer, begun).tokens == begun
    assert framed(tokenizer, begun[1:]).tokens == begun


def test_of_several_special_tokens_those_that_are_missing_are_added():
    tokenizer = wrapped("wordpiece")
    cls, sep = (tokenizer.convert_tokens_to_ids(name) for name in ("[CLS]", "[SEP]"))
    (mary,) = tokenizer.encode("Mary", add_special_tokens=False)
    for text in ("Mary", "[CLS]Mary", "Mary[SEP]", "[CLS] Mary [SEP]"):
        assert encode(tokenizer, text).tokens == [cls, mary, sep]


def test_a_tokenizer_that_reads_special_tokens_as_text_gets_one_beginning():
    tokenizer = wrapped("tekken", split_special_tokens=True)
    beginning, *rest = tokenizer.encode("Mary", add_special_tokens=True)
    assert tokenizer.encode("<s>Mary", add_special_tokens=True)[1:] != rest
    assert encode(tokenizer, "<s>Mary").tokens == [beginning, *rest]
    assert encode(tokenizer, decode(tokenizer, [beginning, *rest])).tokens == [beginning, *rest]
