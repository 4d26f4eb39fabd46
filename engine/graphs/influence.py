"""How much nodes and edges of a graph count for its logits.

The influence of a node is the sum, over all paths to the logits, of the products of the paths'
edges, each edge as the share of its magnitude in those that enter its target, weighted by the
logits' probabilities (Ameisen et al. 2025, transformer-circuits.pub/2025/attribution-graphs/
methods.html#appendix-graph-pruning). Matrices are ``[targets, sources]``.
"""

import numpy as np


def shares(weights: np.ndarray) -> np.ndarray:
    """Each edge's share of the magnitudes that enter its target; rows without edges stay 0."""
    magnitudes = np.abs(weights)
    sums = magnitudes.sum(axis=1, keepdims=True)
    return np.divide(magnitudes, sums, out=np.zeros_like(magnitudes), where=sums > 0)


def influence(shared: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The influence of each node, ``[nodes]``, from shares ``[nodes, nodes]`` and the weights of
    the logits among the nodes, ``[nodes]``; their own weights are not counted."""
    return partial_influence(shared, np.arange(len(logits)), logits)


def partial_influence(shared: np.ndarray, targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The same where the edges into some nodes alone are known: `targets` says which, by row."""
    found = np.zeros(shared.shape[1], shared.dtype)
    reached = logits.astype(shared.dtype)
    for _ in range(len(logits) + 1):  # a path comes by no node twice
        reached = reached[targets] @ shared
        if not reached.any():
            break
        found += reached
    return found


def scores(
    weights: np.ndarray, logits: np.ndarray, errors: slice, tokens: slice
) -> tuple[float, float]:
    """The replacement and the completeness score of a graph, each from 0 to 1.

    Replacement: of the influence that begins at token embeddings and at error nodes, the share that
    begins at token embeddings. Completeness: of the edges that enter a node, the share that does
    not come from error nodes, averaged over the nodes by their influence.
    """
    shared = shares(weights)
    found = influence(shared, logits)
    begun = float(found[tokens].sum()), float(found[errors].sum())
    explained = 1 - shared[:, errors].sum(axis=1)
    counts = found + logits
    replacement = begun[0] / sum(begun) if sum(begun) else 1.0
    return replacement, float((explained * counts).sum() / counts.sum())


def least_of_share(values: np.ndarray, share: float) -> float:
    """The least of the largest values that have together a `share` of the sum of all."""
    descending = np.sort(values, axis=None)[::-1]
    sums = np.cumsum(descending, dtype=np.float64)
    place = int(np.searchsorted(sums, share * sums[-1]))
    return float(descending[min(place, len(descending) - 1)])


def cumulative(values: np.ndarray) -> np.ndarray:
    """Of each value: the share of the sum that it has together with all larger ones."""
    order = np.argsort(-values, kind="stable")
    sums = np.cumsum(values[order], dtype=np.float64)
    found = np.empty(len(values))
    found[order] = sums / sums[-1] if sums[-1] else 0.0
    return found
