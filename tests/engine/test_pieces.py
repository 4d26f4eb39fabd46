"""A token reads as what it adds to a text, and a text is found among the tokens."""

import random

import pytest
from tokenizer_kinds import BYTES, KINDS, LOSSLESS, wrapped

from engine.errors import InvalidRequestError
from engine.runs.encoding import encode
from engine.runs.pieces import Pieces

TEXTS = ["true Mary, true", "Grüße: 日本語 and 🙂🙃", "  two\n\ttabs", "untrue👨‍👩‍👧", "\u0301é"]
BYTE_FALLBACK = ["llama2", "mistral", "gemma"]


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokenizer(kind):
    return wrapped(kind)


@pytest.fixture(scope="module")
def pieces(tokenizer) -> Pieces:
    return Pieces(tokenizer)


def test_the_bytes_of_a_texts_tokens_are_its_own(kind, tokenizer, pieces):
    if kind in LOSSLESS:
        chance = random.Random(3)
        for text in [*TEXTS, *("".join(chance.sample("".join(TEXTS), 12)) for _ in range(200))]:
            tokens = encode(tokenizer, text, add_special_tokens=False).tokens
            told = b"".join(pieces[token].bytes for token in tokens)
            before = b" " if kind == "llama2" or (kind == "mistral" and text[0] != " ") else b""
            assert told == before + text.encode()


def test_a_word_with_and_without_its_space_reads_differently(kind, tokenizer, pieces):
    with_space = encode(tokenizer, "Mary true", add_special_tokens=False).tokens[-1]
    assert pieces.text(with_space) == " true"
    assert pieces[with_space].bytes == b" true"
    if kind in LOSSLESS:
        without = encode(tokenizer, "\ntrue", add_special_tokens=False).tokens[-1]
        assert pieces.text(without) == "true"


@pytest.mark.parametrize("kind", BYTE_FALLBACK, indirect=True)
def test_a_byte_token_reads_as_its_byte(tokenizer, pieces):
    for byte, name in enumerate(BYTES):
        token = tokenizer.convert_tokens_to_ids(name)
        assert pieces[token].bytes == bytes([byte])
        assert pieces.text(token) == (chr(byte) if byte < 128 else name)


@pytest.mark.parametrize("kind", ["byte_level", "llama3", "tekken"], indirect=True)
def test_part_of_a_character_reads_as_its_bytes(tokenizer, pieces):
    texts = {pieces.text(token) for token in tokenizer.encode("🙃", add_special_tokens=False)}
    assert all(text.startswith("<0x") or text == "🙃" for text in texts)
    every = [tokenizer.convert_tokens_to_ids(name) for name in "àáâ"]
    assert [pieces.text(token) for token in every] == ["<0xE0>", "<0xE1>", "<0xE2>"]


def test_no_two_ids_have_the_same_key_and_each_is_found_by_its_own(tokenizer, pieces):
    ids = range(len(tokenizer) + 40)
    keys = [pieces.key(token) for token in ids]
    assert len(set(keys)) == len(keys)
    assert [pieces.find(key) for key in keys if not key.startswith("token_id:")] == [
        token for token, key in enumerate(keys) if not key.startswith("token_id:")
    ]
    for token in ids[: len(tokenizer)]:
        found = pieces.find(pieces.text(token))
        assert pieces.text(found) == pieces.text(token)


def test_ids_past_the_end_have_names_and_no_bytes(tokenizer, pieces):
    past = len(tokenizer) + 7
    assert pieces.text(past) == pieces.key(past) == f"token_id:{past}"
    assert pieces[past].bytes == b""
    assert pieces.find(f"token_id:{past}") == past


def test_an_answer_is_found_as_the_token_that_follows_a_word(tokenizer, pieces):
    *_, mary = encode(tokenizer, "and Mary", add_special_tokens=False).tokens
    assert pieces.one(" Mary") == mary


def test_what_is_no_token_is_told_with_the_tokens_that_it_is_made_of(pieces):
    with pytest.raises(
        InvalidRequestError, match=r"'Mary true' is \d tokens, .* behind a space \d tokens, "
    ) as error:
        pieces.one("Mary true")
    for part in ("Mary", "true"):
        assert f" {part}' ({pieces.find(f' {part}')})" in str(error.value)


@pytest.mark.parametrize("kind", BYTE_FALLBACK, indirect=True)
def test_a_text_without_a_space_is_the_token_without_one(tokenizer, pieces):
    assert pieces.one("true") == tokenizer.convert_tokens_to_ids("true")
    assert pieces.one(" true") == tokenizer.convert_tokens_to_ids("▁true")
    assert pieces.one("\n") == tokenizer.convert_tokens_to_ids("<0x0A>")
    assert pieces.one(",") == tokenizer.convert_tokens_to_ids(",")
