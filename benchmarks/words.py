"""A tokenizer with one word for each token id, for models whose tokens mean nothing."""

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast


def words(size: int, eos_token: str | None = "w2") -> PreTrainedTokenizerFast:
    """Token 7 is the word ``w7``; `eos_token` ends a text."""
    tokenizer = Tokenizer(WordLevel({f"w{n}": n for n in range(size)}, unk_token="w0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos_token)
