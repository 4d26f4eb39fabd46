"""Tokens to text as they come, so that a prompt and its continuation join without a seam."""

from collections.abc import Sequence

from mlx_lm.tokenizer_utils import TokenizerWrapper

CONTEXT = 6
INCOMPLETE = "\ufffd"


class TextStream:
    """The text that each token adds to what came before it, whole characters at a time.

    Decoders treat the beginning of a text specially (some drop its first space), so a token is
    decoded together with those before it, at first the end of the prompt.
    """

    def __init__(self, tokenizer: TokenizerWrapper, prompt: Sequence[int]):
        self._tokenizer = tokenizer
        self._context = list(prompt[-CONTEXT:])
        self._new: list[int] = []

    def add(self, token: int) -> str:
        """The text that `token` completes, which may be none."""
        self._new.append(token)
        text = self._text()
        if text.endswith(INCOMPLETE):
            return ""
        self._context, self._new = [*self._context, *self._new][-CONTEXT:], []
        return text

    def finish(self) -> str:
        """The text of what is left; a character that never became whole stands as U+FFFD."""
        text, self._new = self._text(), []
        return text

    def _text(self) -> str:
        before = self._tokenizer.decode(self._context).rstrip(INCOMPLETE)
        return self._tokenizer.decode([*self._context, *self._new])[len(before) :]
