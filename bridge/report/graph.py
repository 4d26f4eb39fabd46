"""An attribution graph: its document read and checked, and shown as one self-contained page."""

import json
from pathlib import Path
from typing import cast

from bridge import api_types as api
from bridge.errors import BridgeError
from bridge.generator.templates import Templates
from bridge.report.page import script_json

REQUIRED = {
    "metadata": {"slug", "scan", "prompt_tokens", "prompt"},
    "nodes": {"node_id", "layer", "ctx_idx", "feature_type", "influence"},
    "links": {"source", "target", "weight"},
}
"""What the page reads of a document, and of each element of its lists."""


class GraphFileError(BridgeError):
    """A file that is not a graph's document, or misses what the page shows."""


def graph_page(graph: api.AttributionGraph) -> str:
    """The page's HTML; it needs no network and no other file."""
    return Templates().render("report/graph.html", graph=graph, data=script_json(graph))


def read_graph(path: Path) -> api.AttributionGraph:
    """The document in a file. Raises GraphFileError, which says what is missing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GraphFileError(f"{path}: {error}") from error
    for name, fields in REQUIRED.items():
        given = found.get(name) if isinstance(found, dict) else None
        if given is None:
            raise GraphFileError(f"{path} is no attribution graph: it has no {name}")
        for each in given if isinstance(given, list) else [given]:
            missing = sorted(fields - each.keys())
            if missing:
                raise GraphFileError(f"{path}: {name} without {', '.join(missing)}")
    ids = {node["node_id"] for node in found["nodes"]}
    for link in found["links"]:
        for end in (link["source"], link["target"]):
            if end not in ids:
                raise GraphFileError(f"{path}: a link to {end}, which is no node")
    return cast(api.AttributionGraph, found)
