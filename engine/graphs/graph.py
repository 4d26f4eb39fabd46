"""An attribution graph: its nodes, and how much each adds to each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from engine.errors import InvalidRequestError
from engine.graphs.influence import cumulative, influence, least_of_share, scores, shares


class NodeKind(StrEnum):
    """What a node is."""

    FEATURE = "feature"
    ERROR = "error"
    EMBEDDING = "embedding"
    LOGIT = "logit"


@dataclass(frozen=True)
class Node:
    """A feature of a layer at a position, what the features of a layer miss there, a token's
    embedding, or the logit of a token.

    `index` is the feature, or the token of an embedding or a logit; errors have none. `text` is
    that of the token at the position, of a logit that of its own token. `layer` is
    None for embeddings and logits. `value` is a feature's pre-activation, of a logit its difference
    from the mean of all logits before any cap; `bias` is the part of it that comes from no node.
    Embeddings and errors have neither. `activation` is a feature's, `probability` a logit's.
    """

    kind: NodeKind
    layer: int | None
    position: int
    index: int | None
    text: str
    value: float | None = None
    bias: float | None = None
    activation: float | None = None
    probability: float | None = None


@dataclass(frozen=True, eq=False)
class AttributionGraph:
    """A prompt's graph.

    `nodes` are features by layer, position and index, then errors by layer and position, token
    embeddings by position, logits from the likeliest on. `weights`, ``[targets, sources]`` in
    float32, are direct effects: a source's activation times how much a target's value grows with
    it. The weights that enter a feature or a logit and its bias add up to its value, if all
    `active_features` are among the nodes. `pieces` are the prompt's tokens as text.
    """

    tokens: list[int]
    pieces: list[str]
    layers: int
    nodes: list[Node]
    weights: np.ndarray
    active_features: int

    @property
    def prompt(self) -> str:
        """The prompt's text."""
        return "".join(self.pieces)

    @cached_property
    def features(self) -> slice:
        return slice(0, sum(node.kind is NodeKind.FEATURE for node in self.nodes))

    @property
    def errors(self) -> slice:
        first = self.features.stop
        return slice(first, first + self.layers * len(self.tokens))

    @property
    def embeddings(self) -> slice:
        return slice(self.errors.stop, self.errors.stop + len(self.tokens))

    @property
    def logits(self) -> slice:
        return slice(self.embeddings.stop, len(self.nodes))

    @cached_property
    def logit_weights(self) -> np.ndarray:
        """The probability of each node that is a logit, 0 for the others, ``[nodes]``."""
        return np.array([node.probability or 0.0 for node in self.nodes], np.float32)

    @cached_property
    def scores(self) -> tuple[float, float]:
        """The replacement and the completeness score of the whole graph."""
        return scores(self.weights, self.logit_weights, self.errors, self.embeddings)


@dataclass(frozen=True, eq=False)
class Pruning:
    """Which nodes ``[nodes]`` and which edges ``[targets, sources]`` of a graph are kept, and the
    share of all influence that each node has together with those that have more, ``[nodes]``."""

    nodes: np.ndarray
    edges: np.ndarray
    influence: np.ndarray


def pruned(
    graph: AttributionGraph, node_threshold: float = 0.8, edge_threshold: float = 0.98
) -> Pruning:
    """Keep the nodes with the most influence, until they have a share of `node_threshold`, and of
    the edges between these the most influential, until they have `edge_threshold`.

    Token embeddings and logits are always kept; a feature or an error whose edges all go is not.
    Raises InvalidRequestError for a threshold that is no share.
    """
    for name, share in (("node_threshold", node_threshold), ("edge_threshold", edge_threshold)):
        if not 0 <= share <= 1:
            raise InvalidRequestError(f"{name}: {share} is not between 0 and 1")
    logits = graph.logit_weights
    of_nodes = influence(shares(graph.weights), logits)
    nodes = of_nodes >= least_of_share(of_nodes, node_threshold)
    ends = slice(graph.embeddings.start, None)
    nodes[ends] = True
    between = np.where(nodes[:, None] & nodes, graph.weights, 0)
    shared = shares(between)
    of_edges = shared * (influence(shared, logits) + logits)[:, None]
    edges = (of_edges >= least_of_share(of_edges, edge_threshold)) & (of_edges > 0)
    features, made = graph.features, slice(0, graph.errors.stop)
    while True:
        kept = nodes.copy()
        kept[made] &= edges[:, made].any(axis=0)
        kept[features] &= edges[features].any(axis=1)
        edges &= kept[:, None] & kept
        if (kept == nodes).all():
            return Pruning(kept, edges, cumulative(of_nodes))
        nodes = kept


def chosen_logits(logits: np.ndarray, most: int, mass: float) -> tuple[Sequence[int], np.ndarray]:
    """The likeliest tokens, at most `most` and no more than have together a probability of `mass`,
    from the likeliest on, and their probabilities, in float64."""
    exponents = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = exponents / exponents.sum()
    order = np.argsort(-probabilities, kind="stable")[:most]
    count = int(np.searchsorted(np.cumsum(probabilities[order]), mass)) + 1
    return order[:count].tolist(), probabilities[order[:count]]
