"""Changes of an API, each with what it means for a caller."""

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """What a change means for somebody who calls the API; the greater the worse."""

    TEXT = 0
    COMPATIBLE = 1
    BREAKING = 2

    @property
    def label(self) -> str:
        return ("text only", "compatible", "breaking")[self]


@dataclass(frozen=True, order=True)
class Change:
    """One change; `subject` is a route or a part of the document, `place` where in it.

    `selectors` are those of the client that the change touches.
    """

    severity: Severity
    subject: str
    place: str
    text: str
    selectors: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f", {self.place}" if self.place else ""
        touched = f" (selectors: {', '.join(self.selectors)})" if self.selectors else ""
        return f"{self.severity.label}: {self.subject}{place}: {self.text}{touched}"


@dataclass(frozen=True)
class Differences:
    """All changes between two documents, the worst first."""

    old_version: str
    new_version: str
    changes: tuple[Change, ...]

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst change; None if there is none."""
        return max((change.severity for change in self.changes), default=None)

    @property
    def is_breaking(self) -> bool:
        return self.worst is Severity.BREAKING
