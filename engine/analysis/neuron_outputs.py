"""What a neuron writes to the residual stream, and which tokens that promotes.

A neuron's output weights are its column of the down projection, a direction in the residual stream.
Taken through the final norm's weights and the unembedding, without the division by the stream's own
size that differs from token to token, it says how much the neuron raises each token's logit
(Geva et al. 2022, arXiv:2203.14680).
"""

import mlx.core as mx
import numpy as np

from engine.captures.hooks import ActivationHookSpec, resolve_hooks
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, UnknownNeuronError
from engine.runs.kit import ModelKit
from engine.taps.observation import observed
from engine.taps.points import Point, Visitors

NORM_INPUT, NORM = Point(None, C.FINAL_NORM, True), Point(None, C.FINAL_NORM)
LARGE = 100.0
"""Root mean square beside which no norm's epsilon counts."""
SMALL = 0.01
"""Norm of what is unembedded: so small that a soft cap of the logits is linear."""


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

    Norms and multipliers between the down projection and the stream are left out. A token that the
    model masks, whose logit is always -inf, gets 0. Raises what `output_direction` raises.
    """
    direction = output_direction(kit, layer, neuron, expert)
    size = np.sqrt(np.square(direction).mean())
    if size == 0:
        return np.zeros(kit.info.vocab_size, np.float32)
    stream = np.stack([direction / size, np.zeros_like(direction), np.ones_like(direction)]) * LARGE
    normed, shift, constant = passed(kit, NORM_INPUT, stream, NORM)
    if np.allclose(constant, shift, atol=1e-3):  # it centres
        size = direction.std()
    weighted = (normed - shift) * size
    length = np.linalg.norm(weighted) / SMALL
    logits, bias = passed(kit, NORM, np.stack([weighted / length, 0 * weighted]), None)
    raised = np.subtract(logits, bias, out=np.zeros_like(logits), where=np.isfinite(bias))
    return raised * length


def passed(kit: ModelKit, into: Point, value: np.ndarray, out: Point | None) -> np.ndarray:
    """What a pass has at `out` (None: its logits) if it has ``[rows, hidden]`` at `into`.

    MLX evaluates nothing that lies below.
    """
    seen: list[mx.array] = []

    def keep(value: mx.array, span) -> mx.array:
        seen.append(value)
        return value

    visitors: Visitors = {into: lambda _, span: mx.array(value)[None]}
    if out is not None:
        visitors = {**visitors, out: keep}
    with observed(kit.structure, visitors):
        logits = kit.structure.logits(mx.zeros((1, len(value)), dtype=mx.int32))
    result = logits if out is None else seen[-1]
    return np.array(result[0].astype(mx.float32))
