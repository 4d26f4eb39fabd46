"""Whole sequences in one pass, or in several that leave their keys and values in a cache."""

from collections.abc import Iterator
from math import ceil

import mlx.core as mx
from mlx_lm.models.cache import ChunkedKVCache, RotatingKVCache, make_prompt_cache

from engine.structure.resolver import Structure


def passes_over(length: int, size: int) -> int:
    """How many passes of at most `size` positions a sequence takes, of about one length."""
    return ceil(length / ceil(length / ceil(length / size)))


def forgets_keys(structure: Structure) -> bool:
    """Whether some of the model's caches keep the newest keys alone, as behind a sliding window."""
    caches = make_prompt_cache(structure.model)
    parts = [part for each in caches for part in getattr(each, "caches", (each,))]
    return any(isinstance(part, RotatingKVCache | ChunkedKVCache) for part in parts)


def logits_of_chunks(structure: Structure, tokens: mx.array, size: int) -> Iterator[mx.array]:
    """The logits of tokens ``[batch, seq]``, chunk by chunk, of at most `size` positions each.

    The chunks have about one length. A chunk is evaluated before the next one is run, as far as
    that needs it; whoever needs the logits evaluates them first. Raises ContextLengthError.
    """
    length = tokens.shape[1]
    passes = passes_over(length, size)
    if passes == 1:
        yield structure.logits(tokens)
        return
    structure.check_length(length)
    caches = make_prompt_cache(structure.model)
    each = ceil(length / passes)
    for chunk in mx.split(tokens, list(range(each, length, each)), axis=1):
        yield structure.model(chunk, cache=caches)
        mx.eval([cache.state for cache in caches])
        mx.clear_cache()
