"""Activations of a model over texts, without an end: the texts are read again and again."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.errors import InvalidRequestError
from engine.features.documents import TextFiles
from engine.features.reader import ActivationReader
from engine.features.training.settings import TrainingSettings
from engine.features.values import ValueForm
from engine.features.windows import START, Window, windows
from engine.runs.encoding import encode
from engine.runs.kit import ModelKit
from engine.taps.points import Point

HELD_OUT_EVERY = 50
"""One window in so many is never trained on."""


def training_points(kit: ModelKit, settings: TrainingSettings) -> list[Point]:
    """The points that are read and written: one, or a transcoder's component's input and output.

    Raises UnknownLayerError, UnknownComponentError, which name what exists.
    """
    sides = (True, False) if settings.is_transcoder else (False,)
    specs = [
        ActivationHookSpec(
            str(settings.layer),
            settings.component,
            hook_id=str(is_input),
            capture_input=is_input,
            capture_output=not is_input,
        )
        for is_input in sides
    ]
    return [hook.points[0][0] for hook in resolve_hooks(specs, kit.structure)]


class ActivationStream:
    """Rows of activations, those of a transcoder's two points side by side.

    `cursor` is how far the texts are read, `passes` how often they were read to their end.
    """

    def __init__(self, kit: ModelKit, texts: TextFiles, settings: TrainingSettings):
        self._kit = kit
        self._texts = texts
        self._settings = settings
        points = training_points(kit, settings)
        forms = [ValueForm.of(kit.structure, point) for point in points]
        self._reader = ActivationReader(kit, forms)
        self.widths = [form.width for form in forms]
        self.cursor = START
        self.window = 0
        self.passes = 0

    def rows(self) -> Iterator[np.ndarray]:
        """The activations, ``[positions, width]``, of a batch of windows after another, from the
        cursor on. Raises InvalidRequestError for texts without a window that can be used."""
        while True:
            found, start = False, self.cursor
            for batch in self._batches(self._training_windows()):
                self.cursor = batch[-1][1].end
                self.window = batch[-1][0] + 1
                rows = self.of_windows([window for _, window in batch])
                if len(rows):
                    found = True
                    yield rows
            if not found and start == START:
                raise InvalidRequestError(
                    f"texts: {str(self._texts.path)!r} has no window to train on: at least two of "
                    f"more than {self._settings.skipped} tokens are needed"
                )
            self.cursor, self.window = START, 0
            self.passes += 1

    def of_windows(self, batch: Sequence[Window]) -> np.ndarray:
        """The activations of windows at each position of text that is not skipped."""
        values = np.concatenate(
            [np.array(each) for each in self._reader.read([window.tokens for window in batch])],
            axis=-1,
        )
        return np.concatenate(
            [
                of_window[max(window.before, self._settings.skipped) : len(window.tokens)]
                for of_window, window in zip(values, batch, strict=True)
            ]
        )

    @property
    def begins_with_special_tokens(self) -> bool:
        """Whether the tokenizer puts special tokens before a text."""
        return bool(encode(self._kit.tokenizer, "").before)

    def held_out(self) -> Iterator[Window]:
        """The windows that are not trained on."""
        every = windows(self._kit, self._texts, self._settings.context)
        return islice(every, 0, None, HELD_OUT_EVERY)

    def _training_windows(self) -> Iterator[tuple[int, Window]]:
        """The other windows from the cursor on, each with its number in the texts."""
        every = windows(self._kit, self._texts, self._settings.context, self.cursor)
        for number, window in enumerate(every, self.window):
            if number % HELD_OUT_EVERY:
                yield number, window

    def _batches(self, found: Iterator[tuple[int, Window]]) -> Iterator[list[tuple[int, Window]]]:
        while batch := list(islice(found, self._settings.sequences)):
            yield batch
