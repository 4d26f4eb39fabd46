"""A neuron's output weights are its column of the down projection, in every form of it."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch
from reference_models import reference_model, save
from tiny import Numbers, tiny_kit

from benchmarks.architectures import ARCHITECTURES, tiny_model
from engine.analysis.neuron_outputs import output_direction, promoted_logits
from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, UnknownComponentError, UnknownNeuronError
from engine.runs.forward import forward
from engine.runs.kit import ModelKit, load_model
from engine.structure.resolver import resolve
from engine.taps.points import Point

LAYER, NEURON = 3, 7


def weights_of(model: torch.nn.Module) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """The neuron's output weights, the final norm's, the unembedding's, and whether it centres."""
    if hasattr(model, "transformer"):  # GPT-2, whose linear layers are transposed
        out = model.transformer.h[LAYER].mlp.c_proj.weight[NEURON]
        norm, centres = model.transformer.ln_f, True
    else:
        out = model.model.layers[LAYER].mlp.down_proj.weight[:, NEURON]
        norm, centres = model.model.norm, False
    scale = norm.weight + (1 if "Gemma" in type(norm).__name__ else 0)
    parts = (out, scale, model.lm_head.weight)
    return *(part.detach().double().numpy() for part in parts), centres


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "olmo2"])
def test_promoted_logits_are_weights_through_the_norm_s_scale_and_the_unembedding(name, tmp_path):
    model = reference_model(name)
    out, scale, unembedding, centres = weights_of(model)
    expected = unembedding @ (scale * (out - out.mean() if centres else out))
    kit = load_model(save(model, tmp_path))
    np.testing.assert_allclose(output_direction(kit, LAYER, NEURON), out, atol=1e-6)
    found = promoted_logits(kit, LAYER, NEURON)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["gpt_oss", "mixtral"])
def test_an_expert_s_neuron_has_weights_of_that_expert(name, tmp_path):
    model = reference_model(name if name == "mixtral" else "gpt_oss, truncated")
    weight = model.model.layers[LAYER].mlp.experts.down_proj.detach().numpy()
    kit = load_model(save(model, tmp_path))
    for expert in (0, 3):
        out = weight[expert, NEURON] if name == "gpt_oss" else weight[expert, :, NEURON]
        found = output_direction(kit, LAYER, NEURON, expert)
        np.testing.assert_allclose(found, out, atol=1e-6)


def test_quantised_output_weights_are_those_that_the_model_calculates_with():
    model = tiny_model("llama", hidden_size=64, intermediate_size=64)
    nn.quantize(model, group_size=32, bits=4)
    kit = ModelKit(model, Numbers(), {}, "llama", None, resolve(model))
    down = model.layers[0].mlp.down_proj
    weight = mx.dequantize(down.weight, down.scales, down.biases, group_size=32, bits=4)
    found = output_direction(kit, 0, NEURON)
    np.testing.assert_allclose(found, np.array(weight[:, NEURON]), atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_s_neurons_have_output_weights(name):
    """The output weights times the neurons are what the MLP's down projection returns."""
    kit = tiny_kit(name)
    layers = [n for n in range(kit.structure.layers) if is_plain(kit, n)]
    if not layers:
        pytest.skip("no layer has neurons without a mixture of experts")
    layer = layers[0]
    point = Point(layer, C.MLP_HIDDEN)
    down = kit.structure.module_given(point)
    specs = [ActivationHookSpec(str(layer), C.MLP_HIDDEN)]
    hidden = forward(kit, [[5, 9]], specs).activations[f"layer_{layer}_mlp_hidden"][0].data
    width = hidden.shape[-1]
    weights = np.stack([output_direction(kit, layer, neuron) for neuron in range(width)])
    nothing = np.array(down(mx.zeros((1, 1, width))))
    expected = np.array(down(mx.array(hidden)))
    np.testing.assert_allclose(hidden @ weights + nothing, expected, atol=1e-4)
    assert np.isfinite(promoted_logits(kit, layer, 1)).all()


def is_plain(kit, layer: int) -> bool:
    return len(kit.structure.shapes.get(Point(layer, C.MLP_HIDDEN), ())) == 3


def test_what_does_not_exist_is_named():
    llama, mixtral = tiny_kit("llama"), tiny_kit("mixtral")
    with pytest.raises(UnknownNeuronError, match="0 to 47"):
        output_direction(llama, 1, 48)
    with pytest.raises(InvalidRequestError, match="no mixture of experts"):
        output_direction(llama, 1, 4, expert=0)
    with pytest.raises(InvalidRequestError, match="0 to 3"):
        output_direction(mixtral, 1, 4)
    with pytest.raises(InvalidRequestError, match="0 to 3"):
        output_direction(mixtral, 1, 4, expert=4)
    with pytest.raises(UnknownComponentError, match="one after another"):
        output_direction(tiny_kit("dbrx"), 0, 0)
