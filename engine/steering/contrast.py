"""Directions from contrast pairs: texts that differ in what is to be steered.

The mean difference is that of Rimsky et al. 2024 (arXiv:2312.06681). The principal component of the
differences, or of both texts' distances from their middle, is that of Zou et al. 2023
(arXiv:2310.01405) as repeng computes it.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.components import ComponentType
from engine.errors import InvalidRequestError
from engine.runs.forward import run_forward
from engine.runs.kit import ModelKit
from engine.steering.vector import SteeringVector

Method = Literal["mean_difference", "pca", "pca_center"]
Position = int | Literal["mean"]
Pair = tuple[Sequence[int], Sequence[int]]
"""The tokens of a text that shows what is to be steered towards, and of one that shows the
opposite."""
SMALLEST = 1e-6
"""Of the size of the streams: differences that are smaller are rounding."""


def contrast_vector(
    kit: ModelKit,
    pairs: Sequence[Pair],
    *,
    method: Method = "mean_difference",
    layers: Sequence[int] | None = None,
    position: Position = -1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SteeringVector:
    """The directions in which the residual streams of the first texts differ from the second's.

    The stream after each of the `layers` (None: all) is read at one `position` of each text, a
    negative one counting from its end, or is the ``mean`` of all positions.

    - ``mean_difference``: the mean of the differences, as long as it is;
    - ``pca``: the first principal component of the differences, of length 1;
    - ``pca_center``: that of the distances of both from the middle between them, which counts what
      the differences have in common too.

    A principal component points to where more of the first texts lie than of the second.
    `progress` is called with how many of how many texts have been read. Raises
    InvalidRequestError for no pairs, fewer than two for ``pca``, or texts that do not differ;
    UnknownLayerError, UnknownComponentError, UnknownPositionError, and what a forward pass raises.
    """
    if method not in get_args(Method):
        raise InvalidRequestError(f"method {method!r} is none of {', '.join(get_args(Method))}")
    if len(pairs) < (2 if method == "pca" else 1):
        raise InvalidRequestError(
            f"pairs: {method} needs at least {2 if method == 'pca' else 1}, not {len(pairs)}"
        )
    names = ["*"] if layers is None else [str(layer) for layer in layers]
    where = None if position == "mean" else (position,)
    specs = [ActivationHookSpec(name, ComponentType.RESIDUAL, positions=where) for name in names]
    hooks = resolve_hooks(specs, kit.structure)
    streams: dict[int, list[np.ndarray]] = {hook.layer or 0: [] for hook in hooks}
    texts = [tokens for pair in pairs for tokens in pair]
    for count, tokens in enumerate(texts, start=1):
        found = run_forward(kit, [tokens], hooks, logits="none").activations
        for hook in hooks:
            (record,) = found[hook.hook_id]
            streams[hook.layer or 0].append(record.data[0].mean(0, dtype=np.float64))
        progress(count, len(texts))
    return SteeringVector(
        {layer: _direction(layer, np.stack(each), method) for layer, each in streams.items()},
        kit.info.architecture,
        {"method": method, "position": str(position), "pairs": str(len(pairs))},
    )


def _direction(layer: int, streams: np.ndarray, method: Method) -> np.ndarray:
    """The direction of a layer, ``[hidden]``, from ``[texts, hidden]`` in float64."""
    first, second = streams[::2], streams[1::2]
    differences = first - second
    if method == "mean_difference":
        found = differences.mean(0)
        size = np.linalg.norm(found)
    else:
        train = differences
        if method == "pca_center":
            train = np.concatenate([differences, -differences]) / 2
        _, (size, *_), components = np.linalg.svd(train - train.mean(0), full_matrices=False)
        found = components[0]
        sides = (first @ found > second @ found).mean() - (first @ found < second @ found).mean()
        found = -found if sides < 0 else found
    if size <= SMALLEST * np.linalg.norm(streams, axis=1).max():
        what = "do not differ" if method != "pca" else "all differ alike, and have no component"
        raise InvalidRequestError(f"pairs: the streams after layer {layer} {what}")
    return found.astype(np.float32)
