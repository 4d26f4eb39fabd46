"""How well features reconstruct texts that they were not trained on."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import mlx.core as mx
import numpy as np

from engine.features.feature_set import FeatureSet
from engine.features.training.training import Training
from engine.features.windows import Window
from engine.machine.gaps import gaps_explained
from engine.runs.kit import ModelKit
from engine.taps.observation import observed
from engine.taps.points import Point, Span, Visitor, Visitors

WINDOWS = 64
"""How many held-out windows are looked at, if there are so many."""
Metrics = dict[str, float]


def evaluate(
    kit: ModelKit,
    training: Training,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Metrics:
    """Reconstruction over held-out windows, at the positions that a training does not skip.

    - ``explained_variance``: 1 - the squared error's share of the variance around the mean;
    - ``features_on``: the mean number of features that are on (L0);
    - ``dead``: the share of features that are on nowhere in these windows and were on nowhere for
      as long as a training calls a feature dead;
    - ``loss``, ``loss_reconstructed`` and ``loss_ablated``: the mean cross-entropy of the next
      token, in nats, of the model as it is, with the value in its reconstruction's place, and
      with 0 in its place;
    - ``loss_recovered``: (ablated - reconstructed) / (ablated - as it is);
    - ``tokens``: how many positions were reconstructed.
    """
    held_out = list(islice(training.stream.held_out(), WINDOWS))
    trained = training.trained()
    skipped = training.settings.skipped
    totals = _Totals(trained)
    losses = np.zeros(3)
    predicted = 0
    for done, window in enumerate(held_out):
        progress(done, len(held_out))
        if len(window.tokens) <= max(window.before, skipped) + 1:
            continue
        first = max(window.before, skipped)
        values, loss = _losses(kit, window, training.points, trained, first)
        totals.add(*values)
        losses += np.array(loss) * (len(window.tokens) - 1)
        predicted += len(window.tokens) - 1
    loss, reconstructed, ablated = losses / predicted
    never_on = np.array(training.learner.dead) & ~totals.on
    return {
        **totals.metrics(),
        "dead": float(never_on.mean()),
        "loss": float(loss),
        "loss_reconstructed": float(reconstructed),
        "loss_ablated": float(ablated),
        "loss_recovered": float((ablated - reconstructed) / (ablated - loss)),
        "tokens": totals.count,
    }
