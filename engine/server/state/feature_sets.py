"""The feature sets that are loaded beside one model, by id."""

from collections.abc import Hashable, Sequence
from threading import Lock

from engine.errors import InvalidRequestError, UnknownFeatureSetError
from engine.features.bound import BoundSet
from engine.server.errors import LimitError

MOST = 1024
"""Sets on one model: a folder may have one a layer."""


class FeatureSets:
    """Sets on one model; ids are theirs alone."""

    def __init__(self) -> None:
        self._sets: dict[str, BoundSet] = {}
        self._sources: dict[Hashable, list[str]] = {}
        self._lock = Lock()

    def all(self) -> list[BoundSet]:
        with self._lock:
            return list(self._sets.values())

    def get(self, set_id: str) -> BoundSet:
        """Raises UnknownFeatureSetError, naming what is loaded."""
        with self._lock:
            if set_id in self._sets:
                return self._sets[set_id]
            known = ", ".join(self._sets) or "none"
        raise UnknownFeatureSetError(f"no feature set {set_id!r} is loaded; loaded: {known}")

    def check_new(self, set_ids: Sequence[str]) -> None:
        """Raise InvalidRequestError for an id that is taken, LimitError for too many sets."""
        with self._lock:
            self._check_new(set_ids)

    def of_source(self, source: Hashable) -> list[BoundSet]:
        """What the same request loaded before, if all of it is still there; else none."""
        with self._lock:
            return [self._sets[set_id] for set_id in self._sources.get(source, ())]

    def add(self, sets: Sequence[BoundSet], source: Hashable) -> None:
        """Keep all of them or none. Raises what `check_new` raises."""
        ids = [each.set_id for each in sets]
        with self._lock:
            self._check_new(ids)
            self._sets.update(zip(ids, sets, strict=True))
            self._sources[source] = ids

    def remove(self, set_id: str) -> None:
        """Forget a set. Raises UnknownFeatureSetError."""
        self.get(set_id)
        with self._lock:
            self._sets.pop(set_id, None)
            self._sources = {
                source: ids for source, ids in self._sources.items() if set_id not in ids
            }

    def _check_new(self, set_ids: Sequence[str]) -> None:
        for set_id in set_ids:
            if set_id in self._sets or set_ids.count(set_id) > 1:
                raise InvalidRequestError(
                    f"feature_set: {set_id!r} is loaded already; unload it first or give another id"
                )
        if len(self._sets) + len(set_ids) > MOST:
            raise LimitError(f"{len(self._sets)} feature sets are loaded; at most {MOST} may be.")
