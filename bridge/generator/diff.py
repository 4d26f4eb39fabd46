"""What a new API document changes for a Smalltalk caller."""

from dataclasses import dataclass

from bridge.generator.client import Client, ClientMethod
from bridge.generator.operations import Operation


@dataclass(frozen=True)
class SelectorDiff:
    """Selectors of the client, sorted; `changed` ones with what is different about them."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, tuple[str, ...]]

    def __str__(self) -> str:
        lines = [f"added: {selector}" for selector in self.added]
        lines += [f"removed: {selector}" for selector in self.removed]
        lines += [f"changed: {s} ({', '.join(why)})" for s, why in self.changed.items()]
        return "\n".join(lines) or "no selector changed"


def selector_diff(old: Client, new: Client) -> SelectorDiff:
    """The difference between two clients' selectors."""
    before = {method.pattern.selector: method for method in old.methods}
    after = {method.pattern.selector: method for method in new.methods}
    differences = {s: _differences(before[s], after[s]) for s in sorted({*before} & {*after})}
    return SelectorDiff(
        tuple(sorted({*after} - {*before})),
        tuple(sorted({*before} - {*after})),
        {selector: why for selector, why in differences.items() if why},
    )


def _differences(old: ClientMethod, new: ClientMethod) -> tuple[str, ...]:
    found = []
    if old.operation.route != new.operation.route:
        found.append(f"asks {new.operation.route}, not {old.operation.route}")
    for before, after in zip(old.pattern.parts, new.pattern.parts, strict=True):
        if before.field != after.field:
            found.append(f"{after.keyword} is sent as {after.field}, not {before.field}")
    found += _changes("needs", _required(old.operation), _required(new.operation))
    found += _changes("takes", _accepted(old.operation), _accepted(new.operation))
    found += _changes("answers", old.operation.answered, new.operation.answered)
    return tuple(found)


def _changes(verb: str, old: frozenset[str], new: frozenset[str]) -> list[str]:
    return [f"now {verb} {name}" for name in sorted(new - old)] + [
        f"no longer {verb} {name}" for name in sorted(old - new)
    ]


def _required(operation: Operation) -> frozenset[str]:
    needed = frozenset(name for name, is_needed in operation.query.items() if is_needed)
    return needed | (operation.body.required if operation.body else frozenset())


def _accepted(operation: Operation) -> frozenset[str]:
    return frozenset(operation.query) | (
        operation.body.properties if operation.body else frozenset()
    )
