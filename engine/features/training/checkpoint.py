"""A training as one file, from which it goes on as if it had never stopped."""

import json
import os
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from engine.features.documents import Place
from engine.features.training.buffer import ShuffleBuffer
from engine.features.training.learner import Learner
from engine.features.training.scale import Scale
from engine.features.training.settings import TrainingSettings
from engine.features.training.stream import ActivationStream
from engine.features.windows import Cursor

FILE = "checkpoint.safetensors"
_PARAMETERS = "parameters."


def write(folder: Path, learner: Learner, buffer: ShuffleBuffer, stream: ActivationStream) -> None:
    """Write a checkpoint, in the place of an older one once it is complete."""
    state = {
        "step": learner.step,
        "scale": learner.scale.to_dict(),
        "random": buffer.random_state,
        "cursor": stream.cursor,
        "window": stream.window,
        "passes": stream.passes,
    }
    arrays = {**learner.arrays(), "buffer": mx.array(buffer.rows)}
    temporary = folder / f"new.{FILE}"
    mx.save_safetensors(str(temporary), arrays, {"state": json.dumps(state)})
    os.replace(temporary, folder / FILE)


def read(
    folder: Path, settings: TrainingSettings, buffer: ShuffleBuffer, stream: ActivationStream
) -> Learner:
    """The learner of a checkpoint; `buffer` and `stream` are put where they were."""
    loaded: Any = mx.load(str(folder / FILE), return_metadata=True)
    arrays: dict[str, mx.array] = loaded[0]
    state = json.loads(loaded[1]["state"])
    buffer.restore(np.array(arrays.pop("buffer")), state["random"])
    (file, offset), windows = state["cursor"]
    stream.cursor = Cursor(Place(file, offset), windows)
    stream.window, stream.passes = state["window"], state["passes"]
    parameters = {
        name.removeprefix(_PARAMETERS): value
        for name, value in arrays.items()
        if name.startswith(_PARAMETERS)
    }
    learner = Learner(settings, Scale(**state["scale"]), parameters)
    learner.restore(arrays, state["step"])
    return learner
