"""A training from texts to a feature set in a folder."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import numpy as np

from engine.errors import InvalidRequestError
from engine.features.documents import TextFiles
from engine.features.feature_set import FeatureSet
from engine.features.formats import sae_lens
from engine.features.training import checkpoint, log
from engine.features.training.buffer import ShuffleBuffer
from engine.features.training.learner import Learner
from engine.features.training.objective import Outcome
from engine.features.training.settings import TrainingSettings
from engine.features.training.stream import ActivationStream, training_points
from engine.features.training.trained import feature_set
from engine.runs.kit import ModelKit

SETTINGS, LOG, CHART, METRICS = "training.json", "log.csv", "training.svg", "metrics.json"
Report = Callable[[log.Line], None]
"""Called after each step."""


@dataclass(frozen=True)
class TrainingFolder:
    """The files of a training: its settings and texts, its log, its checkpoint, its features."""

    path: Path

    def begin(self, kit: ModelKit, texts: TextFiles, settings: TrainingSettings) -> None:
        """Write what is to be trained. Raises InvalidRequestError if the folder is not empty, and
        what `training_points` raises."""
        training_points(kit, settings)
        if self.path.is_dir() and any(self.path.iterdir()):
            raise InvalidRequestError(
                f"output: {str(self.path)!r} is not empty; a training that is there can be resumed"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        written = {
            "model": kit.model_id,
            "texts": str(texts.path.resolve()),
            "text_bytes": texts.nbytes,
            "settings": settings.to_dict(),
        }
        (self.path / SETTINGS).write_text(json.dumps(written, indent=2))
        log.begin_log(self.log)

    def settings(self) -> TrainingSettings:
        """What is trained here. Raises InvalidRequestError if nothing is."""
        return TrainingSettings(**self._written()["settings"])

    def resumed(self, texts: TextFiles, given: dict[str, Any]) -> TrainingSettings:
        """The settings of the training that is there.

        Raises InvalidRequestError if there is none, it is finished, or the texts or a setting that
        is `given` are not those that it began with.
        """
        settings = self.settings()
        if sae_lens.reads(self.path):
            raise InvalidRequestError(f"output: the training in {str(self.path)!r} is finished")
        for name, value in given.items():
            if (known := getattr(settings, name)) != value:
                raise InvalidRequestError(
                    f"{name}: the training in {self.path} began with {known}, not {value}"
                )
        if (size := texts.nbytes) != (known := self._written()["text_bytes"]):
            raise InvalidRequestError(
                f"texts: {str(texts.path)!r} has {size} bytes of text; the training in {self.path} "
                f"began with {known}"
            )
        return settings

    @property
    def log(self) -> Path:
        return self.path / LOG

    @property
    def chart(self) -> Path:
        return self.path / CHART

    def write_metrics(self, metrics: Mapping[str, float | None]) -> None:
        (self.path / METRICS).write_text(json.dumps(metrics, indent=2))

    def _written(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / SETTINGS).read_text()))
        except OSError as error:
            raise InvalidRequestError(
                f"output: there is no training in {str(self.path)!r}: {error}"
            ) from error


class Training:
    """A training that goes on, step by step, where its folder's checkpoint is, or begins."""

    def __init__(self, kit: ModelKit, texts: TextFiles, settings: TrainingSettings, folder: Path):
        self.settings = settings
        self.points = training_points(kit, settings)
        self.folder = folder
        self.stream = ActivationStream(kit, texts, settings)
        self._model = kit.model_id
        self._width = self.stream.widths[0]
        self._buffer = ShuffleBuffer(settings.buffer, sum(self.stream.widths), settings.seed)
        self._is_there = (folder / checkpoint.FILE).is_file()
        if self._is_there:
            self.learner = checkpoint.read(folder, settings, self._buffer, self.stream)
            log.cut_log(folder / LOG, self.learner.step)
        self._rows = self.stream.rows()

    def run(
        self,
        *,
        checkpoint_every: int = 500,
        report: Report = lambda line: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train until all steps are done, or `stopped` returns True; returns whether they are.

        A checkpoint is written after each `checkpoint_every` steps, and where it stops.
        """
        if not self._is_there:
            self._buffer.fill(self._rows)
            self.learner = Learner.begin(self.settings, *self._sides(self._buffer.rows))
            self._is_there = True
        while self.learner.step < self.settings.steps:
            if stopped():
                self._save()
                return False
            found = self.learner.learn(*self._sides(self._batch()))
            self._note(found, report)
            if self.learner.step % checkpoint_every == 0:
                self._save()
        self._save()
        return True

    @property
    def dead_share(self) -> float:
        """The share of features that are dead now."""
        return _number(self.learner.dead.mean())

    def trained(self) -> FeatureSet:
        """The features as they are now."""
        return feature_set(self.learner, self.points, self.folder.name)

    def finish(self) -> FeatureSet:
        """Write the features in SAELens's format in the place of the checkpoint."""
        trained = self.trained()
        sae_lens.save(
            trained,
            self.folder,
            model_name=self._model,
            context_size=self.settings.context,
            prepend_bos=self.stream.begins_with_special_tokens,
        )
        (self.folder / checkpoint.FILE).unlink()
        return trained

    def _batch(self) -> np.ndarray:
        return self._buffer.batch(self.settings.batch, self._rows)

    def _sides(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is read and what is to be written: one for an autoencoder."""
        return rows[:, : self._width], rows[:, -self.stream.widths[-1] :]

    def _note(self, found: Outcome, report: Report) -> None:
        learner, settings = self.learner, self.settings
        line = log.Line(
            step=learner.step,
            tokens=learner.step * settings.batch,
            loss=_number(found.loss),
            unexplained=_number(found.unexplained),
            penalty=_number(found.penalty),
            auxiliary=_number(found.auxiliary),
            features_on=_number((found.features > 0).sum(axis=-1).mean()),
            dead=self.dead_share,
            learning_rate=_number(learner.optimiser.learning_rate),
        )
        if learner.step in (1, settings.steps) or learner.step % log.EVERY == 0:
            log.append(self.folder / LOG, line)
        report(line)

    def _save(self) -> None:
        checkpoint.write(self.folder, self.learner, self._buffer, self.stream)


def _number(value: mx.array) -> float:
    return float(cast(float, value.item()))
