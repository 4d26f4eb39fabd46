"""Tokens to text as they come, so that a prompt and its continuation join without a seam."""

from collections.abc import Sequence

from engine.runs.tokenizer import Tokenizer

CONTEXT = 6
"""Tokens before a new one that say how it reads."""

INCOMPLETE = "\ufffd"


class TextStream:
    """The text that each token adds to what came before it, whole characters at a time.

    Decoders treat the beginning of a text specially (some drop its first space), so a token is
    decoded together with those before it, at first the end of the prompt.
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
        text = self._text()
        if text.endswith(INCOMPLETE):
            return ""
        added = text[len(self._before) :]
        self._known, self._new, self._before = [*self._known, *self._new], [], text
        if len(self._known) > 2 * CONTEXT:
            self._begin(self._known)
        return added

    def finish(self) -> str:
        """The text of what is left; a character that never became whole is shown as U+FFFD."""
        text, self._new = self._text(), []
        return text[len(self._before) :]

    def _begin(self, tokens: Sequence[int]) -> None:
        """Start from the last of some tokens."""
        self._known, self._new = list(tokens[-CONTEXT:]), []
        self._before = self._text().rstrip(INCOMPLETE)

    def _text(self) -> str:
        return self._tokenizer.decode([*self._known, *self._new])
