"""What a neuron writes to the residual stream, and which tokens that promotes.

A neuron's output weights are its column of the down projection, a direction in the residual stream.
"""

import mlx.core as mx
import numpy as np

from engine.analysis.raised_logits import raised_logits
from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, UnknownNeuronError
from engine.runs.kit import ModelKit
from engine.taps.points import Point


def output_direction(
    kit: ModelKit, layer: int, neuron: int, expert: int | None = None
) -> np.ndarray:
    """What one unit of a neuron adds to its down projection's output, ``[hidden]`` in float32.

    In a layer with a mixture of experts the neuron is one of an `expert`. Raises UnknownLayerError,
    UnknownComponentError, UnknownNeuronError, InvalidRequestError, each naming what exists.
    """
    structure = kit.structure
    (hook,) = resolve_hooks([ActivationHookSpec(str(layer), C.MLP_HIDDEN)], structure)
    point = Point(hook.layer, C.MLP_HIDDEN)
    *_, width = structure.shapes[point]
    down = structure.module_given(point)
    experts = len(down.weight) if len(structure.shapes[point]) == 4 else None
    if not 0 <= neuron < width:
        raise UnknownNeuronError(f"layer {layer} has no neuron {neuron}: 0 to {width - 1}")
    if experts is None and expert is not None:
        raise InvalidRequestError(f"layer {layer} has no mixture of experts, and so no {expert=}")
    if experts is not None and (expert is None or not 0 <= expert < experts):
        raise InvalidRequestError(
            f"a neuron of layer {layer} is one of an expert, 0 to {experts - 1}, not of {expert}"
        )
    of_expert = () if expert is None else (mx.array([expert, expert])[:, None],)
    rows = mx.zeros((2, 1, width) if expert is None else (2, 1, 1, width))
    rows[0, ..., neuron] = 1
    written, nothing = down(rows, *of_expert).astype(mx.float32).reshape(2, -1)
    return np.array(written - nothing)


def promoted_logits(
    kit: ModelKit, layer: int, neuron: int, expert: int | None = None
) -> np.ndarray:
    """How much one unit of a neuron adds to each token's logit, ``[vocab]`` in float32, where the
    residual stream's root mean square (its deviation, if the final norm centres) is 1.

    Norms and multipliers between the down projection and the stream are left out. Raises what
    `output_direction` raises.
    """
    return raised_logits(kit, output_direction(kit, layer, neuron, expert)[None])[0]
