"""Features with their examples as pages that need no network."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bridge.generator.templates import Templates

FEATURES_A_PAGE = 100
Feature = dict[str, Any]
"""A line of examples.jsonl."""


def write_pages(features: Iterable[Feature], folder: Path, title: str) -> Path:
    """Write pages of so many features each, and ``index.html`` with a link to each; returns its
    path."""
    templates = Templates()
    rows: list[dict[str, Any]] = []
    remaining = iter(features)
    while page := list(islice(remaining, FEATURES_A_PAGE)):
        name = f"features-{page[0]['feature']}.html"
        shown = [_shown(each) for each in page]
        text = templates.render("features/examples.html", title=title, features=shown)
        (folder / name).write_text(text, encoding="utf-8")
        rows += [{"page": name, **each} for each in shown]
    index = folder / "index.html"
    index.write_text(
        templates.render("features/index.html", title=title, features=rows), encoding="utf-8"
    )
    return index


def _shown(feature: Feature) -> dict[str, Any]:
    largest = max((each["value"] for each in feature["examples"]), default=0.0)
    return {
        "number": feature["feature"],
        "on": feature["on"],
        "density": feature["density"],
        "mean": feature["mean"],
        "largest": largest,
        "bars": list(_bars(feature)),
        "examples": [list(_pieces(each, largest)) for each in feature["examples"]],
        "values": [each["value"] for each in feature["examples"]],
        "promoted": feature["promoted"],
        "suppressed": feature["suppressed"],
    }


def _bars(feature: Feature) -> Iterator[tuple[float, str]]:
    """The height of each bin's bar, from 0 to 1, and what it stands for."""
    most = max(feature["histogram"], default=1)
    edges = feature["edges"]
    for low, high, count in zip(edges, edges[1:], feature["histogram"], strict=False):
        end = "and more" if high is None else f"to {high:.3g}"
        yield count / most, f"{low:.3g} {end}: {count}"


def _pieces(example: dict[str, Any], largest: float) -> Iterator[tuple[str, float, str]]:
    """Each token's text, its share of the feature's largest activation, and the activation."""
    for text, value in zip(example["texts"], example["activations"], strict=True):
        yield text, max(0.0, value) / largest, f"{value:.3g}"
