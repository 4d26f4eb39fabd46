"""A prompt and the pieces that follow it are one text."""

import random

import pytest
from tokenizer_kinds import LOSSLESS, wrapped
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from engine.models.loading import load
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import load_model, tokenize
from engine.runs.text_stream import TextStream

TEXTS = [
    "When Mary and John went to the store, John gave a drink to Mary.",
    "Grüße, naïve café: 日本語 and 🙂🙃, 1234567890.",
    "  two spaces,\n\ttabs and\n\nlines",
]


@pytest.fixture(scope="module")
def byte_level(smollm2_path):
    return load(smollm2_path)[1]


@pytest.fixture(scope="module")
def metaspace():
    """A tokenizer whose decoder drops the space that begins a text, as SentencePiece's does."""
    words = ["<unk>", *sorted({f"▁{word}" for text in TEXTS for word in text.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.fixture(scope="module")
def byte_fallback():
    """A tokenizer as Llama 2's and Gemma's: what is not in its vocabulary is bytes."""
    return wrapped("llama2")


ALPHABET = [*"ab c,.", "é", "ß", "日", "本", "🙂", "👨‍👩‍👧", "\u0301"]


def random_texts(count: int) -> list[str]:
    chance = random.Random(7)
    return ["".join(chance.choices(ALPHABET, k=chance.randint(1, 40))) for _ in range(count)]


@pytest.mark.parametrize("kind", ["SmolLM2", "metaspace", *LOSSLESS])
def test_streamed_text_is_the_decoding_of_all_tokens_minus_that_of_the_prompt(
    kind, byte_level, metaspace
):
    tokenizer = {"SmolLM2": byte_level, "metaspace": metaspace}.get(kind) or wrapped(kind)
    for text in random_texts(400):
        tokens = tokenizer.encode(text, add_special_tokens=False)
        split = len(tokens) // 3
        whole = tokenizer.decode(tokens)
        before = tokenizer.decode(tokens[:split]).rstrip("\ufffd")
        shown = pieces(tokenizer, tokens, split)
        assert "".join(shown) == whole.removeprefix(before), text
        assert not any("\ufffd" in piece for piece in shown), text


def test_bytes_that_make_no_character_read_as_the_tokenizer_reads_them(byte_fallback):
    tokens = byte_fallback.encode("a🙂b", add_special_tokens=False)
    broken = [*tokens[:6], tokens[3], *tokens[6:]]
    assert "".join(pieces(byte_fallback, broken, 2)) == byte_fallback.decode(broken)[1:]


def test_five_emoji_after_a_prompt_that_ends_in_one_come_out_whole(byte_fallback):
    tokens = byte_fallback.encode("a🙂🙂🙂🙂🙂🙂 b", add_special_tokens=False)
    assert "".join(pieces(byte_fallback, tokens, 6)) == "🙂🙂🙂🙂🙂 b"


def pieces(tokenizer, tokens: list[int], split: int) -> list[str]:
    stream = TextStream(tokenizer, tokens[:split])
    return [*(stream.add(token) for token in tokens[split:]), stream.finish()]


@pytest.mark.parametrize("text", TEXTS)
def test_wherever_a_text_is_cut_its_continuation_joins_it_without_a_seam(byte_level, text):
    tokens = byte_level.encode(text)
    for split in range(1, len(tokens)):
        before = byte_level.decode(tokens[:split]).rstrip("\ufffd")
        assert before + "".join(pieces(byte_level, tokens, split)) == text


def test_a_space_before_the_first_new_word_is_kept_by_a_decoder_that_drops_it(metaspace):
    tokens = metaspace.encode(TEXTS[0])
    assert "".join(pieces(metaspace, tokens, 5)) == TEXTS[0].removeprefix(
        metaspace.decode(tokens[:5])
    )


def test_a_character_of_several_tokens_comes_whole(byte_level):
    for piece in pieces(byte_level, byte_level.encode("x 🙂"), 1):
        assert "\ufffd" not in piece


def test_a_character_that_never_becomes_whole_is_shown_as_such(byte_level):
    tokens = byte_level.encode("x🙂")
    assert pieces(byte_level, tokens[:-1], 1)[-1] == "\ufffd"


def test_a_completion_joins_its_prompt_without_a_seam(smollm2_path):
    kit = load_model(smollm2_path)
    prompt = "When Mary and John went to the store, John gave a drink to"
    steps = create_generator_with_activations(kit, tokenize(kit, prompt), max_tokens=3)
    assert "".join(result.text for result, _ in steps) == " Mary, and"
