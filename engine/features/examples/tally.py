"""What is known of features after some windows: their best examples, and how often they are on."""

import numpy as np

from engine.features.examples.settings import ExampleSettings

EDGES = 2.0 ** (np.arange(-20, 41) / 2)
"""The histogram's inner edges, two an octave; the first and the last bin have one edge each."""
NOTHING = -1
"""The id of a token that is not there: before a window's beginning, after its end."""


class Tally:
    """The examples of `features` features, and how often each is on.

    An example is the window's largest value of a feature, so that a window has at most one. Of
    equal values the one that came first is kept. `values` ``[features, top_k]`` fall from left to
    right, and 0 is none; `tokens` and `activations` ``[features, top_k, before + 1 + after]`` are
    those around it. `places` ``[features, top_k, 3]`` are the file, the byte at which the document
    begins, and the token's number in the document. `on` counts the positions at which a feature is
    on, `sums` adds it up there, `histogram` ``[features, bins]`` counts them by value, `positions`
    all positions that were looked at.
    """

    ARRAYS = ("values", "tokens", "activations", "places", "on", "sums", "histogram")

    def __init__(self, features: int, settings: ExampleSettings):
        self._settings = settings
        kept = (features, settings.top_k)
        width = settings.before + 1 + settings.after
        self.values = np.zeros(kept, np.float32)
        self.tokens = np.full((*kept, width), NOTHING, np.int32)
        self.activations = np.zeros((*kept, width), np.float32)
        self.places = np.zeros((*kept, 3), np.int64)
        self.on = np.zeros(features, np.int64)
        self.sums = np.zeros(features, np.float64)
        self.histogram = np.zeros((features, len(EDGES) + 1), np.int64)
        self.positions = 0

    @staticmethod
    def nbytes(features: int, settings: ExampleSettings) -> int:
        """About the bytes of a tally, and of what one window may add to it."""
        width = settings.before + 1 + settings.after
        kept = settings.top_k * (8 * width + 28)
        return 2 * features * (kept + 8 * (len(EDGES) + 3))

    def add(
        self, tokens: np.ndarray, features: np.ndarray, first: int, place: tuple[int, int, int]
    ) -> None:
        """Count a window: its `tokens` ``[positions]`` and its features ``[positions, features]``.

        Positions before `first` do not count. `place` is that of the token at `first`: file, byte
        of the document, number in it.
        """
        counted = features[first:]
        self.positions += len(counted)
        self._count(counted)
        best = counted.argmax(axis=0)
        largest = counted[best, np.arange(counted.shape[1])]
        (better,) = np.nonzero(largest > np.maximum(self.values[:, -1], 0))
        if better.size:
            self._keep(better, largest[better], best[better], tokens, features, first, place)

    def _count(self, counted: np.ndarray) -> None:
        rows, columns = np.nonzero(counted > 0)
        values = counted[rows, columns]
        bins = self.histogram.shape[1]
        flat = columns * bins + np.searchsorted(EDGES, values, side="right")
        self.histogram += np.bincount(flat, minlength=self.histogram.size).reshape(-1, bins)
        self.on += np.bincount(columns, minlength=len(self.on))
        self.sums += np.bincount(columns, values, minlength=len(self.sums))

    def _keep(
        self,
        better: np.ndarray,
        largest: np.ndarray,
        best: np.ndarray,
        tokens: np.ndarray,
        features: np.ndarray,
        first: int,
        place: tuple[int, int, int],
    ) -> None:
        around = np.arange(-self._settings.before, self._settings.after + 1)
        where = best[:, None] + first + around
        there = (where >= 0) & (where < len(tokens))
        inside = np.where(there, where, 0)
        new_places = np.empty((len(better), 3), np.int64)
        new_places[:] = place
        new_places[:, 2] += best
        new = {
            "values": largest,
            "tokens": np.where(there, tokens[inside], NOTHING),
            "activations": np.where(there, features[inside, better[:, None]], 0),
            "places": new_places,
        }
        order = None
        for name, value in new.items():
            kept = getattr(self, name)
            joined = np.concatenate([kept[better], value[:, None]], axis=1)
            if order is None:
                order = np.argsort(-joined, axis=1, kind="stable")[:, :-1]
            shape = (*order.shape, *(1,) * (joined.ndim - 2))
            kept[better] = np.take_along_axis(joined, order.reshape(shape), axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it knows, for a checkpoint."""
        known = {name: getattr(self, name) for name in self.ARRAYS}
        return {**known, "positions": np.array([self.positions])}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue where another tally was."""
        for name in self.ARRAYS:
            setattr(self, name, arrays[name].copy())
        self.positions = int(arrays["positions"][0])
