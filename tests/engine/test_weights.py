"""Weights by the field's names compute what was captured, on every architecture that has them."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from subjects import TOKENS, Subject

from engine.captures.hooks import ActivationHookSpec
from engine.components import ComponentType as C
from engine.errors import UnknownWeightError
from engine.runs.forward import forward
from engine.taps.points import Point
from engine.weights.catalogue import NAMES, OF_LAYER, WHOLE_MODEL, Weights

ACTIVATIONS = {
    "silu": nn.silu,
    "gelu": nn.gelu,
    "gelu, by tanh": nn.gelu_approx,
    "gelu, by sigmoid": nn.gelu_fast_approx,
    "relu": nn.relu,
    "relu squared": lambda x: nn.relu(x) ** 2,
}
NORMED_INSIDE = {"lille-130m"}
"""Attention and MLP that norm what they are given themselves."""
PROJECTED = {"Q": (C.QUERY_PRE_ROPE, C.QUERY), "K": (C.KEY_PRE_ROPE, C.KEY), "V": (C.VALUE,)}


class Weighed:
    """A subject's weights, and the inputs of attention and MLP that were captured."""

    def __init__(self, subject: Subject):
        self.subject = subject
        self.weights: Weights = subject.kit.weights
        points = [p for p in subject.structure.shapes if p.is_input and p.layer is not None]
        points = [p for p in points if p.component in (C.ATTENTION, C.MLP, C.LAYERNORM)]
        hooks = [
            ActivationHookSpec(str(p.layer), p.component, capture_input=True, capture_output=False)
            for p in points
        ]
        self.inputs = Subject(subject.name, subject.kit, forward(subject.kit, [TOKENS], hooks))

    @property
    def layers(self) -> range:
        return range(self.subject.structure.layers)

    def has(self, *names: str, layer: int | None) -> bool:
        return not any(self.weights.absence(name, layer) for name in names)

    def array(self, name: str, layer: int | None) -> np.ndarray:
        return self.weights.read(name, layer=layer).arrays[name]

    def bias(self, name: str, layer: int | None) -> np.ndarray | float:
        return self.array(name, layer) if self.has(name, layer=layer) else 0.0

    def notes(self, name: str, layer: int | None) -> str:
        return "; ".join(self.weights[name, layer].notes)

    def given(self, component: C, layer: int) -> np.ndarray | None:
        """What attention or the MLP was given, ``[seq, d_model]``."""
        if component is C.ATTENTION:
            data = self.inputs.data(C.ATTENTION, layer, is_input=True)
            if not data or self.subject.name in NORMED_INSIDE:
                data = self.subject.data(C.LAYERNORM, layer)
        else:
            data = self.inputs.data(component, layer, is_input=True)
        return data[0][0] if data else None

    def captured(self, component: C, layer: int | None) -> np.ndarray | None:
        """A component of the first visit, without the axis of the batch."""
        data = self.subject.data(component, layer)
        return data[0][0] if data else None


@pytest.fixture(scope="module")
def weighed(subject) -> Weighed:
    return Weighed(subject)


def assert_close(ours: np.ndarray, theirs: np.ndarray, where: str) -> None:
    scale = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * scale, err_msg=where)


def assert_normed(ours: np.ndarray, theirs: np.ndarray, where: str) -> None:
    """Of each head and token, `theirs` is `ours` (less its mean, in a LayerNorm) times one number
    and a weight that is the same for all tokens. The products that are compared need no weight."""
    missed = []
    for centred in (ours, ours - ours.mean(axis=-1, keepdims=True)):
        left, right = theirs * centred[:, :1], theirs[:, :1] * centred
        factor = (left * right).sum(-1, keepdims=True) / (left * left).sum(-1, keepdims=True)
        missed.append(np.abs(left * factor - right).max() / np.abs(right).max())
    assert min(missed) < 1e-4, where


def test_every_weight_is_there_or_absent_for_a_reason(weighed):
    for names, layers in ((WHOLE_MODEL, [None]), (OF_LAYER, weighed.layers)):
        for name in names:
            for layer in layers:
                reason = weighed.weights.absence(name, layer)
                if reason:
                    with pytest.raises(UnknownWeightError, match=name):
                        weighed.weights.read(name, layer=layer)
                else:
                    weight = weighed.weights[name, layer]
                    assert weighed.array(name, layer).shape == weight.shape


@pytest.mark.parametrize("letter", PROJECTED)
def test_what_attention_reads_times_a_projection_is_what_was_captured(weighed, letter):
    checked = 0
    for layer in weighed.layers:
        given = weighed.given(C.ATTENTION, layer)
        if given is None or not weighed.has(f"W_{letter}", layer=layer):
            continue
        ours = np.einsum("sd,hdk->hsk", given, weighed.array(f"W_{letter}", layer))
        if weighed.has(f"b_{letter}", layer=layer):
            ours = ours + weighed.array(f"b_{letter}", layer)[:, None]
        before, *after = PROJECTED[letter]
        theirs = weighed.captured(before, layer)
        if theirs is None or theirs.shape != ours.shape:
            theirs = weighed.captured(after[0], layer)[:, :1]  # where nothing is rotated yet
            ours = ours[:, :1]
        where = f"W_{letter} of layer {layer}"
        if "norm" in weighed.notes(f"W_{letter}", layer):
            assert_normed(ours, theirs, where)
        else:
            assert_close(ours, theirs, where)
        checked += 1
    if not checked:
        pytest.skip("no layer has the weight and what it is multiplied by")


def test_each_head_s_output_times_its_projection_is_what_attention_adds(weighed):
    checked = 0
    for layer in weighed.layers:
        if weighed.has("W_O", layer=layer) and not weighed.notes("W_O", layer):
            heads = weighed.captured(C.HEAD_OUTPUT, layer)
            ours = np.einsum("hsk,hkd->sd", heads, weighed.array("W_O", layer))
            ours = ours + weighed.bias("b_O", layer)
            assert_close(ours, weighed.captured(C.ATTENTION, layer), f"W_O of layer {layer}")
            checked += 1
    if not checked:
        pytest.skip("no layer adds the heads to the stream as they are")


def test_neurons_times_their_outputs_are_what_the_mlp_adds(weighed):
    checked = 0
    for layer in weighed.layers:
        hidden = weighed.captured(C.MLP_HIDDEN, layer)
        if hidden is None or not weighed.has("W_out", layer=layer):
            continue
        if weighed.notes("W_out", layer):
            continue
        weight, bias = weighed.array("W_out", layer), weighed.bias("b_out", layer)
        if weight.ndim == 3:
            choice = weighed.captured(C.ROUTER_CHOICE, layer).astype(int)
            ours = np.einsum("scm,scmd->scd", hidden, weight[choice])
            ours = ours + (bias[choice] if np.ndim(bias) else 0)
            theirs = weighed.captured(C.EXPERT_OUTPUT, layer)
        else:
            ours, theirs = hidden @ weight + bias, weighed.captured(C.MLP, layer)
        assert_close(ours, theirs, f"W_out of layer {layer}")
        checked += 1
    if not checked:
        pytest.skip("no layer adds the neurons' outputs to the stream as they are")


def test_what_the_mlp_reads_times_its_projections_gives_the_neurons(weighed):
    checked = 0
    for layer in weighed.layers:
        given, hidden = weighed.given(C.MLP, layer), weighed.captured(C.MLP_HIDDEN, layer)
        if given is None or hidden is None or not weighed.has("W_in", layer=layer):
            continue
        up = projected(weighed, "in", layer, given)
        if weighed.has("W_gate", layer=layer):
            gate = projected(weighed, "gate", layer, given)
            assert_close(gate, weighed.captured(C.MLP_GATE, layer), f"W_gate of layer {layer}")
        else:
            gate, up = up, 1.0
        missed = {
            name: float(np.abs(np.array(function(mx.array(gate))) * up - hidden).max())
            for name, function in ACTIVATIONS.items()
        }
        assert min(missed.values()) < 1e-4 * max(1.0, np.abs(hidden).max()), (layer, missed)
        checked += 1
    if not checked:
        pytest.skip("no layer has the weight and what it is multiplied by")


def projected(weighed: Weighed, part: str, layer: int, given: np.ndarray) -> np.ndarray:
    """What the MLP, or each chosen expert, makes of what it is given."""
    weight, bias = weighed.array(f"W_{part}", layer), weighed.bias(f"b_{part}", layer)
    if weight.ndim == 2:
        return given @ weight + bias
    choice = weighed.captured(C.ROUTER_CHOICE, layer).astype(int)
    ours = np.einsum("sd,scdm->scm", given, weight[choice])
    return ours + (bias[choice] if np.ndim(bias) else 0)


def test_embeddings_are_what_enters_the_first_block(weighed):
    if not weighed.has("W_E", layer=None) or weighed.notes("W_E", None):
        pytest.skip(weighed.weights.absence("W_E", None) or weighed.notes("W_E", None))
    ours = weighed.array("W_E", None)[TOKENS]
    if weighed.has("W_pos", layer=None):
        ours = ours + weighed.array("W_pos", None)[: len(TOKENS)]
    assert_close(ours, weighed.captured(C.EMBEDDING, None), "W_E")


def test_the_final_norm_times_the_unembedding_is_the_logits(weighed):
    if not weighed.has("W_U", layer=None) or weighed.notes("W_U", None):
        pytest.skip(weighed.weights.absence("W_U", None) or weighed.notes("W_U", None))
    final_norm = weighed.subject.data(C.FINAL_NORM, None)[-1][0]
    ours = final_norm @ weighed.array("W_U", None)
    ours = ours + weighed.bias("b_U", None)
    theirs = weighed.captured(C.LOGITS, None)
    seen = np.isfinite(theirs)
    assert_close(ours[seen], theirs[seen], "W_U")


def test_the_names_are_those_of_the_listing(weighed):
    listed = {each.name for each in weighed.weights.listed()}
    assert listed == set(NAMES) - {"OV", "QK"}
    assert Point(None, C.LOGITS) in weighed.subject.structure.shapes
