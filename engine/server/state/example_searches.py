"""Searches for examples that did not come to their end, to go on with."""

from collections.abc import Hashable
from threading import Lock

from engine.features.examples.search import ExampleSearch

MOST = 4


class ExampleSearches:
    """The newest searches of one model that were given up, each under what it was for."""

    def __init__(self) -> None:
        self._searches: dict[Hashable, ExampleSearch] = {}
        self._lock = Lock()

    def take(self, what: Hashable) -> ExampleSearch | None:
        """A search to go on with, which is no longer kept."""
        with self._lock:
            return self._searches.pop(what, None)

    def keep(self, what: Hashable, search: ExampleSearch) -> None:
        """Keep a search, and forget the oldest if there are too many."""
        with self._lock:
            self._searches.pop(what, None)
            self._searches[what] = search
            while len(self._searches) > MOST:
                self._searches.pop(next(iter(self._searches)))
