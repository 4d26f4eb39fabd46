"""The course of a training, a line of a CSV file each few steps."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

EVERY = 10
"""Steps between two lines; the first and the last step have one as well."""


@dataclass(frozen=True)
class Line:
    """What a step gave: `features_on` is the mean number of features that are on (L0), `dead` the
    share of features that are dead, `unexplained` the share of the batch's variance."""

    step: int
    tokens: int
    loss: float
    unexplained: float
    penalty: float
    auxiliary: float
    features_on: float
    dead: float
    learning_rate: float


def begin_log(path: Path) -> None:
    """Write a file without a line."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerow(each.name for each in fields(Line))


def append(path: Path, line: Line) -> None:
    with path.open("a", newline="") as file:
        csv.writer(file).writerow(asdict(line).values())


def read_log(path: Path) -> list[Line]:
    with path.open(newline="") as file:
        return [Line(**_numbers(row)) for row in csv.DictReader(file)]


def cut_log(path: Path, step: int) -> None:
    """Forget lines after a step, which is run again."""
    kept = [line for line in read_log(path) if line.step <= step]
    begin_log(path)
    for line in kept:
        append(path, line)


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    return {
        each.name: (int if each.type is int else float)(row[each.name]) for each in fields(Line)
    }
