"""Which positions of its sequence a pass covers."""

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from engine.errors import InvalidRequestError

_counted: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The tokens in caches that do not tell, by the first part of each."""


def tokens_in(cache: list | None) -> int:
    """How many tokens a model's caches have seen.

    Those of attention tell; those of a state space, which keep no token apart, are counted in each
    observed pass. Raises InvalidRequestError if they were filled where nobody counted.
    """
    tells = False
    for offset in _offsets(cache):
        if offset:
            return offset
        tells = True  # that of a layer without attention stays at 0
    parts = list(parts_of(cache))
    if tells or all(part.empty() for part in parts):
        return 0
    if parts[0] not in _counted:
        kinds = ", ".join(sorted({type(part).__name__ for part in parts}))
        raise InvalidRequestError(
            f"a cache of {kinds} does not tell how many tokens are in it, and was filled or copied "
            "outside of the engine: begin with an empty one"
        )
    return _counted[parts[0]]


def count_tokens(cache: list | None, tokens: int) -> None:
    """Remember how many tokens caches have seen in all, if they do not tell."""
    first = next(parts_of(cache), None)
    if first is not None and next(_offsets(cache), None) is None:
        _counted[first] = tokens


def parts_of(cache: list | None) -> Iterator[Any]:
    """The caches of a model's layers, and each of those that a layer has several of."""
    for entry in cache or ():
        yield from getattr(entry, "caches", (entry,))


def _offsets(cache: list | None) -> Iterator[int]:
    for part in parts_of(cache):
        if isinstance(getattr(part, "offset", None), int):
            yield part.offset
