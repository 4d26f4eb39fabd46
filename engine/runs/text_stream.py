"""Tokens to text as they come, so that a prompt and its continuation join without a seam."""

from collections.abc import Sequence

from engine.runs.pieces import BROKEN, BYTE
from engine.runs.tokenizer import Tokenizer

CONTEXT = 6
"""Tokens before a new one that say how it reads, at least."""


class TextStream:
    """The text that each token adds to what came before it, whole characters at a time.

    Decoders treat the beginning of a text specially (some drop its first space), so a token is
    decoded together with those before it, at first the end of the prompt. A run of byte tokens is
    decoded as one, valid or not: the context never begins inside one, and its text is added once
    the run has ended.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]):
        self._tokenizer = tokenizer
        self._known: list[int] = []
        self._new: list[int] = []
        self._before = ""
        self._begin(prompt)

    def add(self, token: int) -> str:
        """The text that `token` completes, which may be none."""
        self._new.append(token)
        if self._is_byte(token):
            return ""
        text = self._text()
        if text.endswith(BROKEN):
            return ""
        added = self._added(text)
        self._known, self._new, self._before = [*self._known, *self._new], [], text
        if len(self._known) > 2 * CONTEXT:
            self._begin(self._known)
        return added

    def finish(self) -> str:
        """The text of what is left; a character that never became whole is shown as U+FFFD."""
        text, self._new = self._text(), []
        return self._added(text)

    def _begin(self, tokens: Sequence[int]) -> None:
        """Start from the last of some tokens, and from the beginning of a run of bytes."""
        first = max(0, len(tokens) - CONTEXT)
        while first > 0 and self._is_byte(tokens[first]):
            first -= 1
        self._known, self._new = list(tokens[first:]), []
        self._before = self._text().rstrip(BROKEN)

    def _added(self, text: str) -> str:
        """What comes after the known text; where new bytes change how it reads, after the part
        that is the same."""
        if text.startswith(self._before):
            return text[len(self._before) :]
        pairs = enumerate(zip(self._before, text, strict=False))
        return text[next((at for at, (old, new) in pairs if old != new), len(text)) :]

    def _is_byte(self, token: int) -> bool:
        return BYTE.fullmatch(self._tokenizer.convert_ids_to_tokens(token) or "") is not None

    def _text(self) -> str:
        return self._tokenizer.decode([*self._known, *self._new])
