"""Differences as text, as JSON, and as an entry of a changelog."""

import json
from collections.abc import Callable

from bridge.generator.diff.changes import Change, Differences, Severity


def as_text(differences: Differences) -> str:
    """A line a change, and how many there are of each severity."""
    if not differences.changes:
        return "no difference"
    counts = [
        f"{sum(c.severity is severity for c in differences.changes)} {severity.label}"
        for severity in reversed(Severity)
    ]
    return "\n".join([*map(str, differences.changes), ", ".join(counts)])


def as_json(differences: Differences) -> str:
    """An object with the worst severity and a list of changes."""
    worst = differences.worst
    content = {
        "old_version": differences.old_version,
        "new_version": differences.new_version,
        "severity": worst.label if worst is not None else "none",
        "changes": [
            {
                "severity": change.severity.label,
                "subject": change.subject,
                "place": change.place,
                "text": change.text,
                "selectors": list(change.selectors),
            }
            for change in differences.changes
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def as_changelog(differences: Differences) -> str:
    """An entry to paste: a section for each severity that there is."""
    lines = [f"## {differences.new_version or 'Unreleased'}"]
    titles = {
        Severity.BREAKING: "Breaking",
        Severity.COMPATIBLE: "Added and changed",
        Severity.TEXT: "Documentation",
    }
    for severity, title in titles.items():
        changes = [c for c in differences.changes if c.severity is severity]
        if changes:
            lines += ["", f"### {title}", "", *(f"- {_entry(change)}" for change in changes)]
    if not differences.changes:
        lines += ["", "No change for callers."]
    return "\n".join(lines)


def _entry(change: Change) -> str:
    place = f", {change.place}" if change.place else ""
    touched = f" ({', '.join(f'`{s}`' for s in change.selectors)})" if change.selectors else ""
    return f"`{change.subject}`{place}: {change.text}{touched}"


FORMS: dict[str, Callable[[Differences], str]] = {
    "text": as_text,
    "json": as_json,
    "changelog": as_changelog,
}
