"""Looks for the examples of features in texts, window by window, and can stop and go on."""

import json
import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import mlx.core as mx
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from engine.errors import InvalidRequestError, NotEnoughMemoryError
from engine.features.bound import BoundLayer
from engine.features.documents import Place, Texts
from engine.features.examples.settings import ExampleSettings
from engine.features.examples.tally import Tally
from engine.features.reader import ActivationReader
from engine.features.windows import START, Cursor, Window, windows
from engine.machine.memory import room_for
from engine.runs.footprint import in_words
from engine.runs.kit import ModelKit
from engine.turns import give_way

Progress = Callable[[int, int], None]


class ExampleSearch:
    """A search for the examples of some features of a layer, None: of all.

    `tokens` is how many positions were run, `cursor` how far the texts are read.
    """

    def __init__(
        self,
        kit: ModelKit,
        layer: BoundLayer,
        texts: Texts,
        settings: ExampleSettings,
        features: Sequence[int] | None = None,
    ):
        self.layer = layer
        self.settings = settings
        encoder = layer.layer.encoder
        everything = encoder.weight.shape[0]
        self.features = list(range(everything)) if features is None else list(features)
        self._encoder, self._columns = encoder, None
        if features is not None:
            chosen = mx.array(self.features)
            if encoder.activation.is_local:
                self._encoder = encoder.of_features(chosen)
            else:
                self._columns = np.array(self.features)
        self._kit = kit
        self.texts = texts
        self._reader = ActivationReader(kit, [layer.reads])
        self.tally = _tally(len(self.features), settings)
        self.cursor = START
        self.tokens = 0

    def run(
        self,
        progress: Progress = lambda done, total: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Search from where it is until the end, or until `stopped` returns True between two
        passes; returns whether the end is reached.

        `progress` is called with how many bytes of the texts of how many are read, or tokens where
        those are limited. Raises InvalidRequestError for texts without a window that counts.
        """
        every = windows(self._kit, self.texts, self.settings.context, self.cursor)
        while not self._is_done():
            if stopped():
                return False
            batch = list(islice(every, self.settings.sequences))
            if not batch:
                break
            self._look_at(batch)
            self.cursor = batch[-1].end
            progress(*self._progress())
            give_way()
        if not self.tally.positions:
            raise InvalidRequestError(
                f"texts: no window has more than {self.settings.skipped} tokens of text"
            )
        return True

    def _is_done(self) -> bool:
        return self.settings.tokens is not None and self.tokens >= self.settings.tokens

    def _progress(self) -> tuple[int, int]:
        if self.settings.tokens is not None:
            return min(self.tokens, self.settings.tokens), self.settings.tokens
        return self.texts.bytes_before(self.cursor.place), self.texts.nbytes

    def _look_at(self, batch: Sequence[Window]) -> None:
        (values,) = self._reader.read([window.tokens for window in batch])
        for window, value in zip(batch, values, strict=True):
            length = len(window.tokens)
            self.tokens += length
            first = max(window.before, self.settings.skipped)
            if length <= first:
                continue
            features = np.array(self._encoder(value[:length]))
            if self._columns is not None:
                features = features[:, self._columns]
            where = (*window.end.place, window.first + first - window.before)
            self.tally.add(np.array(window.tokens, np.int32), features, first, where)


def _tally(features: int, settings: ExampleSettings) -> Tally:
    """Raises NotEnoughMemoryError for more than fits."""
    needed = Tally.nbytes(features, settings)
    available = room_for(needed)
    if needed > available:
        raise NotEnoughMemoryError(
            f"{settings.top_k} examples of {features} features need {in_words(needed)}, and "
            f"{in_words(available)} of memory are available: look at fewer features, examples or "
            "tokens around each"
        )
    return Tally(features, settings)


# --- a search as a file ----------------------------------------------------------------------


def save(search: ExampleSearch, path: Path) -> None:
    """Write where a search is, in the place of an older file once it is complete."""
    state = {"cursor": search.cursor, "tokens": search.tokens}
    temporary = path.with_name(f"new.{path.name}")
    save_file(search.tally.arrays(), temporary, {"state": json.dumps(state)})
    os.replace(temporary, path)


def restore(search: ExampleSearch, path: Path) -> None:
    """Put a search with the same features, texts and settings where the saved one was."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = json.loads(file.metadata()["state"])
    search.tally.restore(arrays)
    place, passed = state["cursor"]
    search.cursor, search.tokens = Cursor(Place(*place), passed), state["tokens"]
