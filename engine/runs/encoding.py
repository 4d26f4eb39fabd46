"""Text to token ids, with the special tokens that a tokenizer puts around it, and back.

Special tokens are added once: a text that brings its own beginning gets no second one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from engine.errors import UnsupportedModelError
from engine.runs.tokenizer import Tokenizer

PROBE = "a"
"""A text by which the special tokens around any text are found."""


@dataclass(frozen=True)
class Encoded:
    """The tokens of a text, and the special tokens that were added before and after them."""

    before: list[int]
    text: list[int]
    after: list[int]

    @property
    def tokens(self) -> list[int]:
        """All of them, in order."""
        return [*self.before, *self.text, *self.after]


def encode(tokenizer: Tokenizer, text: str, *, add_special_tokens: bool = True) -> Encoded:
    """The token ids of a text, within the special tokens that it does not bring itself."""
    if not add_special_tokens:
        return Encoded([], list(tokenizer.encode(text, add_special_tokens=False)), [])
    before, after = _special_ends(tokenizer)
    text = _without_unread(tokenizer, text, before, after)
    return framed(tokenizer, tokenizer.encode(text, add_special_tokens=False))


def framed(tokenizer: Tokenizer, tokens: Sequence[int]) -> Encoded:
    """Tokens within the special tokens that they do not begin or end with themselves."""
    before, after = _special_ends(tokenizer)
    text = list(tokens)
    if text and text[0] in before:
        before = before[: before.index(text[0])]
    if text and text[-1] in after:
        after = after[len(after) - after[::-1].index(text[-1]) :]
    return Encoded(before, text, after)


def decode(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    """The text of token ids; of the ways to read them, the first that encodes to them again."""
    tokens = list(tokens)
    text = tokenizer.decode(tokens)
    readings = _readings(tokenizer, text, tokens)
    return next((each for each in readings if _encodes_to(tokenizer, each, tokens)), text)


def _readings(tokenizer: Tokenizer, text: str, tokens: list[int]) -> Iterator[str]:
    """What tokens may be read as, beginning with `text`, their decoding.

    SentencePiece puts a space before a text, which its decoder drops: some of its tokenizers begin
    a text after each special token, and others put no space before one that begins with a space.
    """
    yield text
    added = tokenizer.added_tokens_decoder
    runs = groupby(tokens, lambda token: token in added)
    yield "".join(tokenizer.decode(list(run)) for _, run in runs)
    yield f" {text}"


def _encodes_to(tokenizer: Tokenizer, text: str, tokens: list[int]) -> bool:
    return any(
        encode(tokenizer, text, add_special_tokens=special).tokens == tokens
        for special in (False, True)
    )


def _special_ends(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer adds before and after a text."""
    whole = list(tokenizer.encode(PROBE, add_special_tokens=True))
    plain = list(tokenizer.encode(PROBE, add_special_tokens=False))
    for start in range(len(whole) - len(plain), -1, -1):
        end = start + len(plain)
        if whole[start:end] == plain:
            return whole[:start], whole[end:]
    raise UnsupportedModelError(
        f"the tokenizer's special tokens change the text between them: {PROBE!r} encodes to "
        f"{whole} with them and to {plain} without"
    )


def _without_unread(tokenizer: Tokenizer, text: str, before: list[int], after: list[int]) -> str:
    """A text without the special tokens at its ends that its tokenizer would read as mere text."""
    for token in before:
        name = tokenizer.decode([token])
        if _is_unread(tokenizer, name, token):
            text = text.removeprefix(name)
    for token in reversed(after):
        name = tokenizer.decode([token])
        if _is_unread(tokenizer, name, token):
            text = text.removesuffix(name)
    return text


def _is_unread(tokenizer: Tokenizer, name: str, token: int) -> bool:
    return list(tokenizer.encode(name, add_special_tokens=False)) != [token]
