"""What a user should know about a document: skipped, renamed and doubtful parts."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    SKIPPED = "skipped"
    RENAMED = "renamed"
    DOUBTFUL = "doubtful"
    INVALID = "invalid"


@dataclass(frozen=True)
class Problem:
    """One warning; `pointer` says where in the document, `text` what is wrong there."""

    kind: ProblemKind
    pointer: str
    text: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.kind}: {self.text}"


def skipped_counts(problems: Iterable[Problem]) -> str:
    """How many operations were skipped, by reason; empty if none was."""
    reasons = Counter(
        problem.text.split(":")[0] for problem in problems if problem.kind is ProblemKind.SKIPPED
    )
    listed = ", ".join(f"{count} for {reason}" for reason, count in reasons.most_common())
    many = "operation was" if reasons.total() == 1 else "operations were"
    return f"{reasons.total()} {many} skipped: {listed}" if reasons else ""
