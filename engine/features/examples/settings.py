"""Which examples are kept, and how much of their text."""

from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import InvalidRequestError


@dataclass(frozen=True, kw_only=True)
class ExampleSettings:
    """`top_k` examples of a feature, `before` tokens and `after` tokens around each.

    Texts are run in windows of `context` tokens, `sequences` of them together. The first `skipped`
    positions of a window do not count: most models have a residual stream there like nowhere else.
    `tokens` ends the search once so many were run; None: with the texts.

    Raises InvalidRequestError that names the setting and what is allowed.
    """

    top_k: int = 10
    before: int = 16
    after: int = 8
    context: int = 128
    sequences: int = 16
    skipped: int = 1
    tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("top_k", "sequences"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("before", "after", "skipped"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        self._check("context", self.context > self.skipped, f"more than {self.skipped} skipped")
        self._check("tokens", self.tokens is None or self.tokens >= 1, "at least 1")

    def _check(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise InvalidRequestError(f"{name}: {getattr(self, name)} is not {allowed}")

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, for JSON."""
        return asdict(self)
