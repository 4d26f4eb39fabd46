"""Whether passes of several sequences of a model can be one: found by trying."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.runs.row_caches import RowCaches, read_together

PROMPTS = ([1, 2, 3, 4, 5], [6, 7], [3, 2, 1])
"""Of different lengths, so that two of them are padded."""
PASSES = ((4, (0, 1)), (5, (0, 1, 2)), (6, (1, 2)), (7, (2,)))
"""The token of each pass, and the rows that it is for: some join, some leave."""
EXACT, HALF = 1e-3, 0.1
"""The largest relative difference of logits that is one of rounding: in float32, in half of it."""


def reason_apart(
    model: nn.Module, make_cache: Callable[[], list[Any]], *, padded: bool = False
) -> str | None:
    """Why passes of several sequences over a token of each cannot be one; None if they can.

    With `padded`: why passes over prompts of several lengths cannot be one. A few short passes are
    run alone and together, and compared: not every model's code reads caches that count the
    positions of each row, nor do all states of state spaces leave padding out.
    """
    kinds = {type(cache) for cache in make_cache() if not hasattr(cache, "merge")}
    if kinds:
        return f"{', '.join(sorted(kind.__name__ for kind in kinds))} has no form for several rows"
    if any(getattr(cache, "keep", 0) for cache in make_cache()):
        return "a rotating cache that keeps its first tokens has no form for several rows"
    try:
        for difference, tolerance in _differences(model, make_cache, padded):
            if not difference <= tolerance:
                return f"logits of several rows differ from those of each alone by {difference:.1g}"
    except Exception as error:  # whatever a model's code raises for such a cache
        what = str(error).partition("\n")[0]
        return f"{type(error).__name__}: {what}"
    return None


def _differences(
    model: nn.Module, make_cache: Callable[[], list[Any]], padded: bool
) -> Iterator[tuple[float, float]]:
    """The relative difference of each row's logits in each pass, and the largest that may be."""
    alone = [_filled(model, make_cache(), prompt) for prompt in PROMPTS]
    caches = RowCaches()
    before: Sequence[int] = ()
    for token, rows in PASSES:
        caches.keep([place for place, row in enumerate(before) if row in rows])
        joining = [PROMPTS[row] for row in rows if row not in before]
        if padded and joining:
            caches.join(_read_in_two_parts(model, make_cache, joining))
        else:
            caches.join([_filled(model, make_cache(), prompt) for prompt in joining])
        before = rows
        together = model(mx.array([[token]] * len(rows)), cache=caches.layers)
        for place, row in enumerate(rows):
            expected = model(mx.array([[token]]), cache=alone[row])[0, -1]
            difference = mx.linalg.norm((together[place, -1] - expected).astype(mx.float32))
            scale = mx.linalg.norm(expected.astype(mx.float32))
            yield float(np.array(difference / scale)), tolerance_of(expected)


def _read_in_two_parts(
    model: nn.Module, make_cache: Callable[[], list[Any]], prompts: Sequence[list[int]]
) -> list[list[Any]]:
    """The caches of prompts that are read together, the halves of all of them in a pass each."""
    halves = [len(prompt) // 2 for prompt in prompts]
    first = [prompt[:half] for prompt, half in zip(prompts, halves, strict=True)]
    second = [prompt[half:] for prompt, half in zip(prompts, halves, strict=True)]
    rows = read_together(model, [make_cache() for _ in prompts], first)
    return read_together(model, rows, second, max(halves))


def tolerance_of(logits: mx.array) -> float:
    """The largest relative difference of such logits that is one of rounding."""
    return EXACT if logits.dtype == mx.float32 else HALF


def _filled(model: nn.Module, cache: list[Any], tokens: list[int]) -> list[Any]:
    model(mx.array([tokens]), cache=cache)
    mx.eval([each.state for each in cache])
    return cache
