"""Directions from contrast pairs: texts that differ in what is to be steered.

The mean difference is that of Rimsky et al. 2024 (arXiv:2312.06681). The principal component of the
differences, or of both texts' distances from their middle, is that of Zou et al. 2023
(arXiv:2310.01405) as repeng computes it.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from engine.captures.hooks import ActivationHookSpec, ResolvedHook, resolve_hooks
from engine.components import ComponentType
from engine.errors import InvalidRequestError
from engine.runs.forward import run_forward
from engine.runs.kit import ModelKit
from engine.runs.steps import rows_a_step
from engine.steering.vector import SteeringVector

Method = Literal["mean_difference", "pca", "pca_center"]
Position = int | Literal["mean"]
Pair = tuple[Sequence[int], Sequence[int]]
"""The tokens of a text that shows what is to be steered towards, and of one that shows the
opposite."""
ROWS = 32
"""Texts that run together, at most."""
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
    texts = [tuple(tokens) for pair in pairs for tokens in pair]
    streams = _streams(kit, texts, hooks, progress)
    return SteeringVector(
        {
            hook.layer or 0: _direction(hook.layer or 0, streams[:, place], method)
            for place, hook in enumerate(hooks)
        },
        kit.info.architecture,
        {"method": method, "position": str(position), "pairs": str(len(pairs))},
    )


def _streams(
    kit: ModelKit,
    texts: Sequence[tuple[int, ...]],
    hooks: Sequence[ResolvedHook],
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """The mean of what each hook sees of each text, ``[texts, hooks, hidden]`` in float64.

    Texts of one length run together, and a text that occurs more than once runs once.
    """
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for text in dict.fromkeys(texts):
        by_length.setdefault(len(text), []).append(text)
    seen: dict[tuple[int, ...], np.ndarray] = {}
    for length, alike in by_length.items():
        rows = max(1, min(ROWS, rows_a_step(kit.structure, length)))
        for first in range(0, len(alike), rows):
            batch = alike[first : first + rows]
            found = run_forward(kit, batch, hooks, logits="none").activations
            means = [found[hook.hook_id][0].data.mean(1, dtype=np.float64) for hook in hooks]
            seen.update(zip(batch, np.stack(means, axis=1), strict=True))
            progress(sum(text in seen for text in texts), len(texts))
    return np.stack([seen[text] for text in texts])


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
