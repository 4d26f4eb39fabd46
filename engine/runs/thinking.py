"""A model's thinking: what it writes between two markers before its reply."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.runs.tokenizer import Tokenizer


@dataclass(frozen=True)
class ThinkingMarkers:
    """The tokens before and after a model's thinking."""

    start: tuple[int, ...]
    end: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "ThinkingMarkers | None":
        """Those that mlx-lm finds in a vocabulary, if any."""
        known: Any = tokenizer
        if not getattr(known, "has_thinking", False):
            return None
        return cls(tuple(known.think_start_tokens), tuple(known.think_end_tokens))

    def are_open(self, tokens: Sequence[int]) -> bool:
        """Whether thinking has begun in some tokens, and not ended."""
        return _last(tokens, self.start) > _last(tokens, self.end)


class ThinkingCount:
    """Counts the generated tokens that are thinking, their markers included."""

    def __init__(self, markers: ThinkingMarkers | None, prompt: Sequence[int]):
        self.tokens = 0
        self._markers = markers
        self._is_open = markers is not None and markers.are_open(prompt)
        self._recent: list[int] = []

    def add(self, token: int) -> None:
        """Count a generated token."""
        if self._markers is None:
            return
        marker = self._markers.end if self._is_open else self._markers.start
        self._recent = [*self._recent, token][-len(marker) :]
        is_marker = tuple(self._recent) == marker
        if self._is_open:
            self.tokens += 1
        elif is_marker:
            self.tokens += len(marker)
        if is_marker:
            self._is_open, self._recent = not self._is_open, []


def _last(tokens: Sequence[int], marker: tuple[int, ...]) -> int:
    """Where a marker is in some tokens for the last time; -1 if it is not there."""
    places = range(len(tokens) - len(marker), -1, -1)
    return next((at for at in places if tuple(tokens[at : at + len(marker)]) == marker), -1)
