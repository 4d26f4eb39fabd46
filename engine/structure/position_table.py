"""How many positions a model's learned table of positions has, read off a trace of its code.

A learned position embedding is a table that is indexed by positions: 0, 1, 2, … over a prompt, and
the next number for the token after it, whatever the tokens are. Behind its last row is memory of
something else, which MLX reads without an error.
"""

from collections.abc import Sequence
from itertools import pairwise

import mlx.core as mx

from engine.errors import ContextLengthError
from engine.structure.trace import Event, Trace


def check_positions(needed: int, learned: int | None) -> None:
    """Raise ContextLengthError if more positions are needed than have learned embeddings."""
    if learned is not None and needed > learned:
        raise ContextLengthError(
            f"{needed} positions are needed, those of the prompt and of max_tokens after it; the "
            f"model has learned embeddings of {learned} positions, and none beyond: shorten the "
            "prompt, or lower max_tokens"
        )


def learned_positions(traces: Sequence[Trace]) -> int | None:
    """The positions that the shortest such table has, None for a model without one.

    `traces` are those of a prompt with a cache and of the token after it.
    """
    prompt, step = traces[:2]
    counts = [
        event.called.weight.shape[0] - first
        for event in prompt.events
        if _looks_up(event)
        for first in [_first_row(event, step)]
        if first is not None
    ]
    return min(counts, default=None)


def _looks_up(event: Event) -> bool:
    """Whether a module is a table that one row is taken from for each index."""
    return (
        event.module is not None
        and len(event.inputs) > 0
        and mx.issubdtype(event.inputs[0].dtype, mx.integer)
        and len(event.outputs) == 1
        and event.outputs[0].ndim == event.inputs[0].ndim + 1
        and "weight" in event.module
    )


def _first_row(event: Event, step: Trace) -> int | None:
    """The row of position 0, which some tables begin later, if the rows are those of positions."""
    rows = _flat(event)
    if len(rows) < 2 or any(after != row + 1 for row, after in pairwise(rows)):
        return None
    following = [_flat(later) for later in step.calls(event.called)]
    return rows[0] if [rows[-1] + 1] in following else None


def _flat(event: Event) -> list[int]:
    """The indices of a look-up, which depend on no more than the tokens: to evaluate is cheap."""
    return [int(each) for each in event.inputs[0].reshape(-1).tolist()]
