"""A view as one self-contained HTML page."""

from dataclasses import asdict
from typing import Any

import orjson

from bridge.generator.templates import Templates
from bridge.report.view import View

PRECISION = 4


def page(view: View) -> str:
    """The page's HTML; it needs no network and no other file."""
    return Templates().render("report/page.html", view=view, data=script_json(_data(view)))


def _data(view: View) -> dict[str, Any]:
    return {
        "texts": view.texts,
        "patterns": {
            str(layer): pattern.round(PRECISION).tolist()
            for layer, pattern in view.patterns.items()
        },
        "norms": view.norms.round(PRECISION).tolist(),
        "lens": {
            str(layer): [
                [[token.text, round(token.probability, PRECISION)] for token in top]
                for top in positions
            ]
            for layer, positions in view.lens.items()
        },
        "circuit": view.circuit and asdict(view.circuit),
        "saliency": view.saliency and asdict(view.saliency),
    }


def script_json(data: Any) -> str:
    """JSON that may be inside a script element, whatever texts it contains."""
    return orjson.dumps(data).decode().replace("<", "\\u003c")
