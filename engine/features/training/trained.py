"""What a learner has learned as a feature set, in the model's own units."""

import mlx.core as mx

from engine.features.activations import Activation, JumpRelu, Relu, TopK
from engine.features.encoder import Encoder
from engine.features.feature_set import FeatureSet
from engine.features.training.learner import Learner
from engine.taps.points import Point


def feature_set(learner: Learner, points: list[Point], name: str) -> FeatureSet:
    """The features of a learner at its points.

    The scale of training goes into the biases and thresholds, so that features are in the units of
    the value that they write and the decoder's rows have norm 1.
    """
    parameters, scale = learner.parameters, learner.scale
    decoder_bias = parameters["b_dec"] / scale.outputs
    is_transcoder = learner.settings.is_transcoder
    encoder = Encoder(
        weight=mx.contiguous(parameters["W_enc"].T) * (scale.inputs / scale.outputs),
        bias=parameters["b_enc"] / scale.outputs,
        activation=_activation(learner),
        input_bias=None if is_transcoder else decoder_bias,
    )
    kind = encoder.activation.name
    return FeatureSet(
        name=name,
        architecture=f"{kind}_transcoder" if is_transcoder else kind,
        reads=points[0],
        writes=points[-1],
        encoder=encoder,
        decoder=parameters["W_dec"],
        decoder_bias=decoder_bias,
    )


def _activation(learner: Learner) -> Activation:
    settings, unit = learner.settings, 1 / learner.scale.outputs
    match settings.architecture:
        case "topk":
            return TopK(settings.k)
        case "standard":
            return Relu()
        case "jumprelu":
            return JumpRelu(mx.exp(learner.parameters["log_threshold"]) * unit, rectified=True)
    return JumpRelu(mx.full((settings.features,), learner.threshold * unit), rectified=True)
