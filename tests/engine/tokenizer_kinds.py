"""Small real tokenizers of the kinds that models come with, each as its authors build it."""

from collections.abc import Iterable

from mlx_lm.tokenizer_utils import TokenizerWrapper
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "When Mary and John went to the store, John gave a drink to Mary.",
    "true or untrue, Mary: true is true, and untrue is not true.",
    "Grüße aus dem Café: 日本語 and 🙂🙃, 1234567890.",
    "  two spaces,\n\ttabs and\n\nlines",
    "ab aa bb ba: a, b. a. b,\n\n::",
] * 4
LETTERS = "abcdefghijklmnopqrstuvwxyzMJGWTC0123456789,.:"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level() -> Tokenizer:
    """As GPT-2's and Qwen's, which add nothing to a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _train_bytes(tokenizer, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return tokenizer


def llama3() -> Tokenizer:
    """As Llama 3's: byte-level, and a text begins with `<|begin_of_text|>`."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train_bytes(tokenizer, ["<|begin_of_text|>", "<|eot_id|>"])
    _frame(tokenizer, before=["<|begin_of_text|>"])
    return tokenizer


def tekken() -> Tokenizer:
    """As Mistral Nemo's: byte-level, with `<s>` before and special tokens in front."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"[^\r\n\p{L}\p{N}]?\p{Lu}*\p{Ll}+|\p{N}|\s+|[^\s]+"), "isolated"
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train_bytes(tokenizer, ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
    _frame(tokenizer, before=["<s>"])
    return tokenizer


def llama2() -> Tokenizer:
    """As Llama 2's: bytes for what is not in the vocabulary, and a space before each text."""
    tokenizer = _with_bytes(["<unk>", "<s>", "</s>"])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = _spaces_and_bytes(decoders.Strip(" ", 1, 0))
    _frame(tokenizer, before=["<s>"])
    return tokenizer


def mistral() -> Tokenizer:
    """As Mistral 7B's in new files: Metaspace puts a space before the first word alone."""
    tokenizer = _with_bytes(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = _spaces_and_bytes(decoders.Strip(" ", 1, 0))
    _frame(tokenizer, before=["<s>"])
    return tokenizer


def gemma() -> Tokenizer:
    """As Gemma's: bytes for what is not in the vocabulary, nothing before a text but `<bos>`."""
    tokenizer = _with_bytes(["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"])
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = _spaces_and_bytes()
    _frame(tokenizer, before=["<bos>"])
    return tokenizer


def unigram() -> Tokenizer:
    """As SentencePiece's unigram models, T5's among them: `</s>` after each text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=160, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    _frame(tokenizer, after=["</s>"])
    return tokenizer


def wordpiece() -> Tokenizer:
    """As BERT's: `[CLS]` before and `[SEP]` after each text, and a decoder that joins words."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", "[CLS]", "[SEP]"])
    tokenizer.train_from_iterator(CORPUS, trainer)
    _frame(tokenizer, before=["[CLS]"], after=["[SEP]"])
    return tokenizer


KINDS = {
    each.__name__: each
    for each in (byte_level, llama3, tekken, llama2, mistral, gemma, unigram, wordpiece)
}
LOSSLESS = ["byte_level", "llama3", "tekken", "llama2", "mistral", "gemma"]
"""Those that any text can be read back from."""


def wrapped(kind: str, **options: object) -> TokenizerWrapper:
    """The tokenizer of a kind as mlx-lm loads it."""
    return TokenizerWrapper(PreTrainedTokenizerFast(tokenizer_object=KINDS[kind](), **options))


def _train_bytes(tokenizer: Tokenizer, special: list[str]) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)


def _with_bytes(special: list[str]) -> Tokenizer:
    """A BPE of letters, a few words and all bytes, with `▁` for a space."""
    words = ["Mary", "John", "true", "drink", "and"]
    grown = [word[:end] for word in words for end in range(2, len(word) + 1)]
    merges = [(word[:-1], word[-1]) for word in dict.fromkeys(grown)]
    spaced = ["▁▁", *(f"▁{word}" for word in words)]
    merges += [("▁", "▁"), *(("▁", word) for word in words)]
    names = dict.fromkeys([*special, *BYTES, "▁", *LETTERS, *grown, *spaced])
    vocabulary = {name: number for number, name in enumerate(names)}
    unknown = "<unk>" if "<unk>" in special else None
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, byte_fallback=True))
    tokenizer.add_special_tokens(special_tokens(special))
    return tokenizer


def _spaces_and_bytes(*more: decoders.Decoder) -> decoders.Decoder:
    """Reads `▁` as a space and runs of byte tokens as text, and does what is given after that."""
    read = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*read, *more])


def special_tokens(names: Iterable[str]) -> list[AddedToken]:
    return [AddedToken(name, special=True, normalized=False) for name in names]


def _frame(tokenizer: Tokenizer, before: Iterable[str] = (), after: Iterable[str] = ()) -> None:
    """Let a tokenizer add special tokens to a text."""
    before, after = list(before), list(after)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join([*before, "$A", *after]),
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in [*before, *after]],
    )
