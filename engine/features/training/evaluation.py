"""How well features reconstruct texts that they were not trained on."""

from collections.abc import Callable
from itertools import islice

from engine.errors import InvalidRequestError
from engine.features.bound import BoundSet
from engine.features.quality import measure
from engine.features.training.training import Training
from engine.runs.kit import ModelKit

WINDOWS = 32
"""How many held-out windows are looked at, if there are so many."""
Metrics = dict[str, float | None]


def evaluate(
    kit: ModelKit,
    training: Training,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Metrics:
    """The quality of what was trained over held-out windows, skipped positions left out.

    `features_on` is the mean number of features that are on (L0), `dead` the share of features that
    a training calls dead at its end; the others are those of `engine.features.quality.Quality`.
    Raises InvalidRequestError for texts without a window that can be used.
    """
    skipped = training.settings.skipped
    windows = islice(training.stream.held_out(), WINDOWS)
    sequences = [window.tokens for window in windows if len(window.tokens) > skipped + 1]
    if not sequences:
        raise InvalidRequestError(f"texts: no held-out window has more than {skipped + 1} tokens")
    bound = BoundSet(training.folder.name, training.trained(), kit.structure)
    quality = measure(kit, bound, sequences, skipped=skipped, progress=progress)
    (layer,) = quality.layers
    return {
        "explained_variance": layer.explained_variance,
        "features_on": layer.l0,
        "dead": training.dead_share,
        "loss": quality.loss,
        "loss_reconstructed": quality.loss_reconstructed,
        "loss_zero": quality.loss_zero,
        "loss_recovered": quality.loss_recovered,
        "held_out_positions": quality.positions,
    }
