"""Stop strings, which may span tokens: text that may still become one is held back."""

from collections.abc import Sequence


class StopStrings:
    """Releases text as soon as it can no longer be part of a stop string.

    `found` is the stop string that ended the text, None until then; nothing of it is released.
    """

    def __init__(self, strings: Sequence[str]):
        self.strings = tuple(string for string in strings if string)
        self.found: str | None = None
        self._held = ""

    def released(self, segment: str, is_last: bool) -> str:
        """The text that is safe to show after `segment`; all that is left if it is the last."""
        self._held += segment
        hits = [(self._held.find(s), s) for s in self.strings if s in self._held]
        if hits:
            at, self.found = min(hits)
            text, self._held = self._held[:at], ""
            return text
        keep = 0 if is_last else self._possible_beginning()
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def _possible_beginning(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = max((len(s) for s in self.strings), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(s.startswith(end) for s in self.strings):
                return length
        return 0
