"""From a model's values to sparse features."""

from dataclasses import dataclass, replace

import mlx.core as mx

from engine.features.activations import Activation, LocalActivation
from engine.features.normalization import Normalization


@dataclass(frozen=True, eq=False)
class Encoder:
    """``activation(W (norm(x) - input_bias) + bias)``, in float32.

    `weight` is ``[n_features, d_in]``, a row a feature, `bias` ``[n_features]`` and `input_bias`
    ``[d_in]``.
    """

    weight: mx.array
    bias: mx.array | None
    activation: Activation
    input_bias: mx.array | None = None
    normalization: Normalization | None = None

    def __call__(self, x: mx.array) -> mx.array:
        """Features ``[..., n_features]`` of values ``[..., d_in]``."""
        return self.activation(self.pre_activations(x))

    def pre_activations(self, x: mx.array) -> mx.array:
        """What the activation function is given; of gated ones, without the gate's bias."""
        x = x.astype(mx.float32)
        if self.normalization is not None:
            x = self.normalization.into(x)
        if self.input_bias is not None:
            x = x - self.input_bias
        pre = x @ self.weight.T
        return pre if self.bias is None else pre + self.bias

    def of_features(self, indices: mx.array) -> "Encoder":
        """The encoder of some features alone, whose activation has to be local."""
        assert isinstance(self.activation, LocalActivation), "a feature depends on the others"
        return replace(
            self,
            weight=self.weight[indices],
            bias=None if self.bias is None else self.bias[indices],
            activation=self.activation.of_features(indices),
        )
