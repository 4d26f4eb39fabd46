"""The course of a training as a picture in SVG, from the log that the engine writes."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.generator.templates import Templates

WIDTH, HEIGHT = 640, 200
CURVES = (
    ("unexplained", "share of the variance that is not explained"),
    ("features_on", "features that are on (L0)"),
    ("dead", "share of features that are dead"),
)
STEPS = (1, 2, 2.5, 5, 10)
TICKS = 5


@dataclass(frozen=True)
class Panel:
    """One curve: its points in pixels, and the ticks of its vertical axis, each with its pixel."""

    title: str
    points: str
    ticks: list[tuple[float, str]]


def training_chart(log: Path) -> str:
    """The picture of a log with at least one line: a panel a curve, tokens from left to right."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    tokens = [float(row["tokens"]) for row in rows]
    end = max(tokens)
    panels = [
        _panel(title, tokens, [float(row[name]) for row in rows], end) for name, title in CURVES
    ]
    marks = [(tick / end * WIDTH, f"{tick:,.0f}") for tick in _ticks(end)]
    return Templates().render(
        "features/training.svg", panels=panels, marks=marks, width=WIDTH, height=HEIGHT
    )


def _panel(title: str, xs: Sequence[float], ys: Sequence[float], end: float) -> Panel:
    ticks = _ticks(max(ys) or 1.0)
    top = max(ticks[-1], max(ys))
    points = " ".join(
        f"{x / end * WIDTH:.1f},{HEIGHT - y / top * HEIGHT:.1f}"
        for x, y in zip(xs, ys, strict=True)
    )
    return Panel(title, points, [(HEIGHT - tick / top * HEIGHT, f"{tick:,g}") for tick in ticks])


def _ticks(end: float) -> list[float]:
    """Round numbers from 0 to about `end`."""
    size = 10 ** math.floor(math.log10(end / TICKS))
    step = next(each * size for each in STEPS if each * size * TICKS >= end * 0.999)
    return [number * step for number in range(math.floor(end / step * 1.0001) + 1)]
