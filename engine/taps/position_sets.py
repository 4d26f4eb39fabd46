"""Positions as whoever asks says them, and those that they are in one run."""

from collections.abc import Collection, Sequence
from typing import Literal, get_args

from engine.errors import InvalidRequestError, UnknownPositionError

PositionSet = Literal["all", "prompt", "generated"]
"""All positions of a run, those of its prompt, or those of the tokens that follow the prompt."""

Positions = tuple[int, ...] | PositionSet | None
"""0-based positions, negative ones counting from the prompt's end; or a set of them. None: all."""


def positions_of_run(
    asked: Positions, prompt_end: int, run: range
) -> range | tuple[int, ...] | None:
    """Those of a run over the positions of `run`, None for all: in the order in which they are
    asked for.

    Raises UnknownPositionError for one that the run does not have, or a set that is empty there.
    """
    if isinstance(asked, str):
        return _of_set(asked, prompt_end, run)
    if asked is None:
        return None
    absolute = tuple(p if p >= 0 else prompt_end + p for p in asked)
    for given, position in zip(asked, absolute, strict=True):
        if position not in run:
            raise UnknownPositionError(
                f"position {given} is outside this run, which has positions {run[0]} to {run[-1]}"
            )
    return absolute


def _of_set(name: str, prompt_end: int, run: range) -> range | None:
    if name not in get_args(PositionSet):
        known = ", ".join(get_args(PositionSet))
        raise InvalidRequestError(f"positions: {name!r} is none of {known}")
    if name == "all":
        return None
    if name == "prompt":
        return range(run.start, min(prompt_end, run.stop))
    if run.stop <= prompt_end:
        raise UnknownPositionError(
            "positions: 'generated' are those after the prompt, and this run passes no token there"
        )
    return range(prompt_end, run.stop)


def within(
    positions: range | tuple[int, ...] | None, excluded: Collection[int], span: range
) -> Sequence[int]:
    """Those of some positions (None: all) that a pass over `span` has, without the excluded."""
    if positions is None:
        here: Sequence[int] = span
    elif isinstance(positions, range):
        here = range(max(positions.start, span.start), min(positions.stop, span.stop))
    else:
        here = [position for position in positions if position in span]
    return [each for each in here if each not in excluded] if excluded else here


def first_of(positions: Sequence[int]) -> int | None:
    """The least of some positions."""
    return (
        next(iter(positions), None)
        if isinstance(positions, range)
        else min(positions, default=None)
    )


def are_contiguous(positions: Sequence[int]) -> bool:
    """Whether positions are all from the first to the last, in this order."""
    if isinstance(positions, range) or len(positions) == 1:
        return True
    first = positions[0]
    return all(each == first + place for place, each in enumerate(positions))
