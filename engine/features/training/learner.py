"""The parameters of features, and how a batch changes them."""

from typing import Any

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from engine.features.training.objective import Outcome, Parameters, outcome
from engine.features.training.scale import Scale, geometric_median
from engine.features.training.settings import TrainingSettings

THRESHOLD_MEMORY = 0.99
"""How much of the running threshold of *batchtopk* a batch leaves as it is."""
LEAST_THRESHOLD = 1e-3
STRICTNESS_WARM_UP = 0.1
"""The share of the steps over which a penalty rises to its full weight."""


class Learner:
    """Features that are being trained, `step` batches of them so far.

    `unused` ``[features]`` counts the tokens since each was on last. `threshold` is the running
    mean of the smallest feature that was on in a batch.
    """

    def __init__(self, settings: TrainingSettings, scale: Scale, parameters: Parameters):
        self.settings = settings
        self.scale = scale
        self.parameters = parameters
        self.step = 0
        self.unused = mx.zeros((settings.features,), mx.int32)
        self.threshold = mx.array(0.0)
        self.optimiser = optim.Adam(learning_rate=0.0, betas=[0.9, 0.999], bias_correction=True)
        self.optimiser.init(parameters)

    @classmethod
    def begin(
        cls, settings: TrainingSettings, inputs: np.ndarray, outputs: np.ndarray
    ) -> "Learner":
        """New features, for activations such as these ``[rows, width]``, in the model's units.

        The decoder's bias is their geometric median, the decoder random directions, and the encoder
        reads what the decoder writes; of a transcoder it reads random directions.
        """
        scale = Scale.of(inputs, outputs)
        key, other = mx.random.split(mx.random.key(settings.seed))
        decoder = _unit(mx.random.normal((settings.features, outputs.shape[-1]), key=key))
        encoder = decoder.T
        bias = mx.zeros((settings.features,))
        if settings.is_transcoder:
            encoder = _unit(mx.random.normal((settings.features, inputs.shape[-1]), key=other)).T
            bias = -mx.array(geometric_median(inputs * scale.inputs)) @ encoder
        parameters = {
            "W_enc": mx.contiguous(encoder),
            "b_enc": bias,
            "W_dec": decoder,
            "b_dec": mx.array(geometric_median(outputs * scale.outputs)),
        }
        if settings.architecture == "jumprelu":
            some = mx.array(inputs[: settings.batch] * scale.inputs) - parameters["b_dec"]
            pre = (some @ encoder).reshape(-1)
            on = mx.min(mx.topk(pre, settings.k * len(some)))  # as many as there are to be
            log = mx.log(mx.maximum(on, LEAST_THRESHOLD))
            parameters["log_threshold"] = mx.full((settings.features,), log)
        mx.eval(parameters)
        return cls(settings, scale, parameters)

    def learn(self, inputs: np.ndarray, outputs: np.ndarray) -> Outcome:
        """Change the parameters by a batch of activations ``[batch, width]``, in the model's units;
        returns what it gave before the change."""
        settings = self.settings
        dead = self.dead
        some_dead = bool(dead.any().item())

        def loss(parameters: Parameters) -> tuple[mx.array, ...]:
            found = outcome(
                parameters,
                mx.array(inputs) * self.scale.inputs,
                mx.array(outputs) * self.scale.outputs,
                settings,
                dead=dead if some_dead else None,
                strictness=min(1.0, (self.step + 1) / (STRICTNESS_WARM_UP * settings.steps)),
            )
            parts = (found.loss, found.unexplained, found.penalty, found.auxiliary, found.features)
            return parts

        values, gradients = mx.value_and_grad(loss)(self.parameters)
        found = Outcome(*values)
        self._change(gradients)
        self._count(found.features)
        self.step += 1
        mx.eval(self.parameters, self.optimiser.state, self.unused, self.threshold, *values[:4])
        return found

    @property
    def dead(self) -> mx.array:
        """Which features are dead, ``[features]``."""
        return self.unused >= self.settings.dead_after

    @property
    def learning_rate(self) -> float:
        """The rate of the step that comes next."""
        settings, done = self.settings, self.step / self.settings.steps
        rising = (self.step + 1) / (settings.warm_up * settings.steps) if settings.warm_up else 1.0
        falling = (1 - done) / settings.decay if settings.decay else 1.0
        return settings.learning_rate * min(1.0, rising, falling)

    def _change(self, gradients: Parameters) -> None:
        """A step of Adam that leaves the decoder's rows at norm 1: the gradient's part along a row
        would only make it longer."""
        decoder = self.parameters["W_dec"]
        along = (gradients["W_dec"] * decoder).sum(axis=-1, keepdims=True)
        gradients = {**gradients, "W_dec": gradients["W_dec"] - along * decoder}
        self.optimiser.learning_rate = self.learning_rate
        changed = self.optimiser.apply_gradients(gradients, self.parameters)
        self.parameters = {**changed, "W_dec": _unit(changed["W_dec"])}

    def _count(self, features: mx.array) -> None:
        """Note which features were on."""
        on = (features > 0).any(axis=0)
        self.unused = mx.where(on, 0, self.unused + len(features))
        least = mx.min(mx.where(features > 0, features, mx.inf))
        memory = THRESHOLD_MEMORY if self.step else 0.0
        mean = memory * self.threshold + (1 - memory) * least
        self.threshold = mx.where(mx.isfinite(least), mean, self.threshold)

    def arrays(self) -> dict[str, mx.array]:
        """All that the next step depends on but `step`, for a checkpoint."""
        state = dict(tree_flatten(self.optimiser.state))
        return {
            **{f"parameters.{name}": value for name, value in self.parameters.items()},
            **{f"optimiser.{name}": value for name, value in state.items()},
            "unused": self.unused,
            "threshold": self.threshold,
        }

    def restore(self, arrays: dict[str, mx.array], step: int) -> None:
        """Continue where another learner was."""
        self.parameters = _of("parameters.", arrays)
        state: Any = tree_unflatten(list(_of("optimiser.", arrays).items()))
        self.optimiser.state = state
        self.optimiser.init(self.parameters)
        self.unused, self.threshold = arrays["unused"], arrays["threshold"]
        self.step = step


def _of(prefix: str, arrays: dict[str, mx.array]) -> dict[str, mx.array]:
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def _unit(rows: mx.array) -> mx.array:
    return rows / mx.maximum(mx.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
