"""What is wrong with a body that breaks its schema, by the names that its client wrote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydantic import ValidationError

SHOWN = 10
"""Offences that an error tells; of the others it tells how many there are."""
LONGEST_PART = 100
"""Characters that are shown of one part of a field's name, which a client may have made up."""
OF_ANOTHER_KIND = ("_type", "literal_error", "none_required")
"""Ends of the kinds of error that say that a value is of another type than a branch takes."""
EXPECTED = "Input should be "
MESSAGES = {
    "model_type": f"{EXPECTED}an object",
    "model_attributes_type": f"{EXPECTED}an object",
    "dict_type": f"{EXPECTED}an object",
    "none_required": f"{EXPECTED}null",
}
"""Messages in place of pydantic's, which name what only its users know."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Offence:
    """A field, as a path of keys and indices into the body, and what is wrong with it."""

    path: Path
    message: str

    @property
    def field(self) -> str:
        return ".".join(_short(str(part)) for part in self.path)

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.path else self.message


def offences(error: ValidationError, body: Any) -> list[Offence]:
    """What is wrong with a body, which is parsed JSON, one offence a field.

    Of a value that is none of the branches of a union, what the branch says that fits it best.
    """
    placed = [
        _Placed.of(each, body)
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return [
        offence
        for (path, in_union), group in groupby(placed, lambda each: (each.union, each.branch != ""))
        for offence in (_of_union(path, list(group)) if in_union else map(_offence, group))
    ]


def told(found: Sequence[Offence]) -> str:
    """The first offences in one message, and how many more there are."""
    shown = "; ".join(map(str, found[:SHOWN]))
    more = len(found) - SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


@dataclass(frozen=True)
class _Placed:
    """An error of pydantic: where it is in the body, and in which branch of which union."""

    path: Path
    kind: str
    message: str
    union: Path
    branch: str

    @classmethod
    def of(cls, error: Any, body: Any) -> "_Placed":
        kind, location = error["type"], error["loc"]
        path: list[str | int] = []
        union: Path = ()
        branch = ""
        value = body
        for place, part in enumerate(location):
            is_absent = kind == "missing" and place == len(location) - 1
            if isinstance(value, dict) and (part in value or is_absent):
                value = value.get(part)
                path.append(part)
            elif isinstance(value, list) and isinstance(part, int):
                value = value[part]
                path.append(part)
            elif not branch and part != "[key]":
                union, branch = tuple(path), str(part)
        message = MESSAGES.get(kind, error["msg"]).removeprefix("Value error, ")
        message = message.replace(" after validation", "")
        return cls(tuple(path), kind, message, union, branch)

    @property
    def is_of_another_kind(self) -> bool:
        """Whether the value, or the first item of it, is of another type than the branch takes."""
        of_all_of_it = self.path in (self.union, (*self.union, 0))
        return of_all_of_it and self.kind.endswith(OF_ANOTHER_KIND)


def _offence(error: _Placed) -> Offence:
    return Offence(error.path, error.message)


def _of_union(path: Path, errors: list[_Placed]) -> Iterator[Offence]:
    """What is wrong with the value of a union: the errors of the branch that it came furthest in;
    of several such branches, and of a value that is of no branch's kind, what they all expect."""
    branches = [list(group) for _, group in groupby(errors, lambda error: error.branch)]
    fitting = [branch for branch in branches if not branch[0].is_of_another_kind] or branches
    furthest = max(_order(branch[0].path) for branch in fitting)
    best = [branch for branch in fitting if _order(branch[0].path) == furthest]
    if len(best) == 1:
        yield from map(_offence, best[0])
        return
    messages = list(dict.fromkeys(branch[0].message for branch in best))
    if all(message.startswith(EXPECTED) for message in messages):
        expected = dict.fromkeys(message.removeprefix(EXPECTED) for message in messages)
        messages = [EXPECTED + " or ".join(expected)]
    yield Offence(best[0][0].path, " or ".join(messages))


def _order(path: Path) -> list[tuple[bool, int | str]]:
    return [(isinstance(part, str), part) for part in path]


def _short(part: str) -> str:
    return part if len(part) <= LONGEST_PART else f"{part[:LONGEST_PART]}…"
