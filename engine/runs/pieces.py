"""The exact text and bytes of single tokens, and the tokens that a text is.

A token is read behind another one, since decoders treat the beginning of a text specially (some
drop its first space). Bytes that make no character are written as vocabularies with byte fallback
name them, `<0xF0><0x9F>`; a token without any text has the name that the vocabulary has for it,
and an id without a name is `token_id:49160`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, takewhile

from transformers.convert_slow_tokenizer import bytes_to_unicode

from engine.errors import InvalidRequestError
from engine.runs.tokenizer import Tokenizer

BROKEN = "\N{REPLACEMENT CHARACTER}"
BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
"""How a vocabulary with byte fallback (Llama 2, Mistral, Gemma) names the token of a byte."""
BYTES = re.compile(rf"(?:{BYTE.pattern})+")
NAMELESS = re.compile(r"token_id:([0-9]{1,9})")
CHARACTERS = bytes_to_unicode()
"""How a byte-level vocabulary (GPT-2, Llama 3, tekken) writes each byte, after Radford et al."""
BYTE_OF = {character: byte for byte, character in CHARACTERS.items()}


@dataclass(frozen=True)
class Piece:
    """What one token reads as; `bytes` is empty for a token without text."""

    text: str
    bytes: bytes


class Pieces:
    """The pieces of one tokenizer, kept once they are known."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._known: dict[int, Piece] = {}
        self._keys: dict[int, str] = {}
        self._behind: list[int] | None = None

    def __getitem__(self, token: int) -> Piece:
        if token not in self._known:
            self._known[token] = self._read(token)
        return self._known[token]

    def vocabulary(self, size: int) -> list[bytes]:
        """The bytes of the first `size` tokens; ids without a token, or text, have none."""
        return [(self._known.get(token) or self._read(token)).bytes for token in range(size)]

    def text(self, token: int) -> str:
        """The text that a token adds to others, its leading space included."""
        return self[token].text

    def key(self, token: int) -> str:
        """A text that no other token has: its own, or `token_id:` and its id for all but one of
        several tokens that read alike."""
        if token not in self._keys:
            text = self.text(token)
            first = next(self._named(text), None)
            self._keys[token] = text if first == token else _nameless(token)
        return self._keys[token]

    def find(self, text: str) -> int | None:
        """The token that reads as `text`, of several the one whose key it is; None if there is
        none."""
        return next((token for token in self._candidates(text) if self.text(token) == text), None)

    def one(self, text: str) -> int:
        """The token that a text is, if need be behind a space.

        Raises InvalidRequestError that lists the tokens which the text is made of.
        """
        for wanted in (text, f" {text}"):
            if (token := self.find(wanted)) is not None:
                return token
        plain, spaced = (self._told(self._split(each)) for each in (text, f" {text}"))
        raise InvalidRequestError(
            f"{text!r} is {plain}, and behind a space {spaced}; one is needed, by text or id"
        )

    def _read(self, token: int) -> Piece:
        name = self._name(token)
        if not name:
            return Piece(_nameless(token), b"")
        if self._behind is None:
            self._behind = self._token_to_read_behind()
        before = self._tokenizer.decode(self._behind)
        text = self._tokenizer.decode([*self._behind, token]).removeprefix(before)
        if not text:
            return Piece(name, b"")
        raw = (_raw(name) if BROKEN in text else None) or text.encode()
        try:
            return Piece(raw.decode(), raw)
        except UnicodeDecodeError:
            return Piece("".join(f"<0x{byte:02X}>" for byte in raw), raw)

    def _name(self, token: int) -> str | None:
        try:
            return self._tokenizer.convert_ids_to_tokens(token)
        except (IndexError, ValueError):  # SentencePiece's own, past its end
            return None

    def _token_to_read_behind(self) -> list[int]:
        """A token of letters or digits; none, in a vocabulary that has no such token."""
        named = takewhile(lambda each: each[1], ((token, self._name(token)) for token in count()))
        for token, name in named:
            is_word = self._tokenizer.decode([token]).strip().isalnum()
            if is_word and not BYTE.fullmatch(name or ""):
                return [token]
        return []

    def _candidates(self, text: str) -> Iterator[int]:
        """Tokens that may read as `text`, those first that its key may belong to."""
        yield from self._named(text)
        word = self._tokenizer.decode(self._behind or [])
        for written in (text, word + text):
            yield from self._split(written)[-1:]

    def _named(self, text: str) -> Iterator[int]:
        """The tokens that read as `text`, found by the names that vocabularies give such tokens."""
        if match := NAMELESS.fullmatch(text):
            yield int(match[1])
        raw = bytes(int(code, 16) for code in BYTE.findall(text)) if BYTES.fullmatch(text) else None
        raw = raw or text.encode()
        names = [text, text.replace(" ", "▁"), "".join(CHARACTERS[byte] for byte in raw)]
        names += [text.removeprefix(" "), f"##{text}"]
        names += [f"<0x{byte:02X}>" for byte in raw if len(raw) == 1]
        for name in dict.fromkeys(names):
            token = self._tokenizer.convert_tokens_to_ids(name)
            if token is not None and self.text(token) == text:
                yield token

    def _split(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _told(self, tokens: list[int]) -> str:
        """How many tokens, and which; one alone is another than was asked for, such as <unk>."""
        told = ", ".join(f"{self.text(token)!r} ({token})" for token in tokens)
        return f"the token {told}" if len(tokens) == 1 else f"{len(tokens)} tokens, {told}"


def _raw(name: str) -> bytes | None:
    """The bytes that a token's name spells; None if it spells none."""
    if match := BYTE.fullmatch(name):
        return bytes([int(match[1], 16)])
    codes = [BYTE_OF.get(character) for character in name]
    return None if None in codes else bytes(code for code in codes if code is not None)


def _nameless(token: int) -> str:
    return f"token_id:{token}"
