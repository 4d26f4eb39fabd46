"""Caches of an earlier sequence for one that begins alike: found by trying where that is right."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache

from engine.runs.sharing import tolerance_of
from engine.taps.positions import count_tokens, parts_of

FIRST = [1, 2, 3, 4, 5, 6]
"""A sequence that is tried, of which others have these first tokens and continue so."""
OTHERS = ((6, [7]), (6, [7, 2]), (3, [9, 8]))


def can_be_taken_back(caches: list[Any]) -> bool:
    """Whether what the last tokens left in caches can be taken out of them."""
    is_whole = all(getattr(part, "start_position", 0) == 0 for part in parts_of(caches))
    return is_whole and can_trim_prompt_cache(caches)


def beginning_of(caches: list[Any], filled: int, tokens: int) -> list[Any]:
    """A copy of caches that `filled` tokens have gone through, as they were after the first
    `tokens` of them, which are all, or the caches can be taken back.

    The copy shares memory with the original until either of them is written to.
    """
    copies = deepcopy(caches)
    if tokens < filled:
        trim_prompt_cache(copies, filled - tokens)
        copies = compact(copies)
    count_tokens(copies, tokens)
    return copies


def compact(caches: list[Any]) -> list[Any]:
    """Copies without the room that mlx-lm's caches keep for more tokens, where it has a way."""
    return [_compact(cache) for cache in caches]


def _compact(cache: Any) -> Any:
    if cache.empty() or not hasattr(cache, "merge") or getattr(cache, "keep", None):
        return deepcopy(cache)
    return type(cache).merge([cache]).extract(0)


def reason_read_anew(model: nn.Module, make_cache: Callable[[], list[Any]]) -> str | None:
    """Why the beginning of a sequence cannot be that of an earlier one's caches; None if it can.

    A few short sequences are run with and without those of an earlier one, and compared.
    """
    try:
        for difference, tolerance in _differences(model, make_cache):
            if not difference <= tolerance:
                return f"logits after a reused beginning differ by {difference:.1g}"
    except Exception as error:  # whatever a model's code raises for such a cache
        what = str(error).partition("\n")[0]
        return f"{type(error).__name__}: {what}"
    return None


def _differences(
    model: nn.Module, make_cache: Callable[[], list[Any]]
) -> Iterator[tuple[float, float]]:
    """The relative difference of each sequence's logits, and the largest that may be."""
    first = make_cache()
    model(mx.array([FIRST]), cache=first)
    mx.eval([each.state for each in first])
    kept = compact(first)
    for count, more in OTHERS:
        if count == len(FIRST) or can_be_taken_back(kept):
            reused = beginning_of(kept, len(FIRST), count)
            expected = model(mx.array([FIRST[:count] + more]), cache=make_cache())[0, -1]
            logits = model(mx.array([more]), cache=reused)[0, -1]
            difference = mx.linalg.norm((logits - expected).astype(mx.float32))
            scale = mx.linalg.norm(expected.astype(mx.float32))
            yield float(np.array(difference / scale)), tolerance_of(expected)
