"""A prompt and the pieces that follow it are one text."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

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
    return tokenizer


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
    tokens = metaspace.encode(TEXTS[0]).ids
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
