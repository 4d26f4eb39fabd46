"""An attribution graph as the JSON document that Neuronpedia's viewer and circuit-tracer read.

Its fields have the names that these programs gave them. Identifiers:
``{layer}_{feature}_{position}`` for a feature, ``0_{layer}_{position}`` for an error,
``E_{token}_{position}`` for an embedding, ``{layers + 1}_{token}_{position}`` for a logit.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.graphs.graph import AttributionGraph, Node, NodeKind, pruned

KINDS = {
    NodeKind.FEATURE: "cross layer transcoder",
    NodeKind.ERROR: "mlp reconstruction error",
    NodeKind.EMBEDDING: "embedding",
    NodeKind.LOGIT: "logit",
}
"""What the viewer calls the kinds of nodes, whatever the transcoders are."""
SCHEMA_VERSION = 1
"""Of the nodes: a feature's number is the pair of its layer and index."""


def document(
    graph: AttributionGraph,
    *,
    model_id: str,
    transcoders: Sequence[str],
    settings: dict[str, Any],
    node_threshold: float,
    edge_threshold: float,
    slug: str | None = None,
) -> dict[str, Any]:
    """The document of a graph, pruned to its most influential nodes and edges.

    `transcoders` are the names of those that made it, `settings` what it was asked for. Raises
    InvalidRequestError for thresholds that are no shares.
    """
    kept = pruned(graph, node_threshold, edge_threshold)
    numbers = np.flatnonzero(kept.nodes).tolist()
    ids = identifiers(graph, numbers)
    replacement, completeness = graph.scores
    targets, sources = np.nonzero(kept.edges)
    return {
        "metadata": {
            "slug": slug or _slug(graph.prompt),
            "scan": model_id,
            "transcoder_list": list(transcoders),
            "prompt_tokens": graph.pieces,
            "prompt": graph.prompt,
            "node_threshold": node_threshold,
            "schema_version": SCHEMA_VERSION,
            "info": {"generator": {"name": "neuroscope-bridge"}},
            "generation_settings": settings,
            "pruning_settings": {
                "node_threshold": node_threshold,
                "edge_threshold": edge_threshold,
            },
            "scores": {"replacement": replacement, "completeness": completeness},
            "counts": {
                "active_features": graph.active_features,
                "nodes": len(graph.nodes),
                "edges": int(np.count_nonzero(graph.weights)),
            },
        },
        "qParams": {
            "pinnedIds": [],
            "supernodes": [],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        "nodes": [_node(graph, graph.nodes[n], ids[n], float(kept.influence[n])) for n in numbers],
        "links": [
            {
                "source": ids[source],
                "target": ids[target],
                "weight": float(graph.weights[target, source]),
            }
            for target, source in zip(targets.tolist(), sources.tolist(), strict=True)
        ],
    }


def identifiers(graph: AttributionGraph, numbers: Sequence[int]) -> dict[int, str]:
    """The identifier of each of some nodes. An error whose identifier a feature of layer 0 has as
    well gets ``_error`` behind it."""
    ids = {n: _identifier(graph, graph.nodes[n]) for n in numbers}
    features = {ids[n] for n in numbers if graph.nodes[n].kind is NodeKind.FEATURE}
    for n in numbers:
        if graph.nodes[n].kind is NodeKind.ERROR and ids[n] in features:
            ids[n] += "_error"
    return ids


def _identifier(graph: AttributionGraph, node: Node) -> str:
    if node.kind is NodeKind.FEATURE:
        return f"{node.layer}_{node.index}_{node.position}"
    if node.kind is NodeKind.ERROR:
        return f"0_{node.layer}_{node.position}"
    if node.kind is NodeKind.EMBEDDING:
        return f"E_{node.index}_{node.position}"
    return f"{graph.layers + 1}_{node.index}_{node.position}"


def _node(graph: AttributionGraph, node: Node, identifier: str, influence: float) -> dict[str, Any]:
    layer, feature, label, node_name = "E", node.position, "", ""
    if node.kind is NodeKind.FEATURE:
        assert node.layer is not None, "a feature has a layer"
        assert node.index is not None, "a feature has an index"
        total = node.layer + node.index
        layer, feature = str(node.layer), total * (total + 1) // 2 + node.index
        node_name = f"{node.layer}_{node.index}-0"
    elif node.kind is NodeKind.ERROR:
        layer, feature = str(node.layer), -1
        label, node_name = f'Err: mlp "{node.text}"', f"{node.layer}_{node.position}-0"
    elif node.kind is NodeKind.EMBEDDING:
        label, node_name = f'Emb: "{node.text}"', f"E_{node.index}-{node.position}"
    else:
        assert node.index is not None, "a logit has a token"
        layer, feature = str(graph.layers + 1), node.index
        label = f'Output "{node.text}" (p={node.probability:.3f})'
        node_name = f"L_{node.index}-{node.position}"
    return {
        "node_id": identifier,
        "feature": feature,
        "layer": layer,
        "ctx_idx": node.position,
        "feature_type": KINDS[node.kind],
        "token_prob": node.probability or 0.0,
        "is_target_logit": node is graph.nodes[graph.logits.start],
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": node_name,
        "clerp": label,
        "influence": influence,
        "index": node.index,
        "activation": node.activation,
        "value": node.value,
        "bias": node.bias,
    }


def _slug(prompt: str) -> str:
    """A name for a graph made of the words of its prompt."""
    words = re.findall(r"[a-z0-9]+", prompt.lower())
    return "-".join(words)[:60].strip("-") or "graph"
