"""Direct logit attribution is the sum that PyTorch's own values make, part by part."""

import numpy as np
import pytest
import torch
from features.made import random_cross_layer, random_set
from reference_models import reference_model, save

from engine.analysis.logit_attribution import LogitAttribution, logit_attribution
from engine.components import ComponentType as C
from engine.errors import InvalidRequestError, UnknownComponentError, UnknownPositionError
from engine.features.bound import BoundSet
from engine.features.feature_set import FeatureSet
from engine.runs.kit import ModelKit, load_model
from engine.taps.points import Point
from tests.engine.test_interventions import kit_of

TOKENS = [3, 31, 4, 15, 9, 26, 5, 35, 8, 93]
ANSWER, DISTRACTOR, POSITION = 7, 12, 6
HEADS = 4


class Expected:
    """Terms of a difference of logits, by hand from what transformers' modules are given.

    `of` maps (part, layer, head or neuron) to its value.
    """

    def __init__(self, model: torch.nn.Module):
        inner = model.base_model
        self.model = model
        self.layers = getattr(inner, "layers", None) or inner.h
        self.norm = getattr(inner, "norm", None) or inner.ln_f
        self.given: dict[torch.nn.Module, torch.Tensor] = {}
        handles = [module.register_forward_pre_hook(self._keep) for module in model.modules()]
        with torch.no_grad():
            self.logits = model(torch.tensor([TOKENS])).logits[0, POSITION]
        for handle in handles:
            handle.remove()
        rows = model.lm_head.weight.detach()
        self.direction = self._linear(self.norm, rows[ANSWER] - rows[DISTRACTOR])
        self.of: dict[tuple, float] = {}
        self._fill()

    def _keep(self, module, inputs):
        if inputs and isinstance(inputs[0], torch.Tensor) and inputs[0].ndim == 3:
            self.given[module] = inputs[0][0, POSITION].detach()

    def _linear(self, norm: torch.nn.Module, weights: torch.Tensor) -> torch.Tensor:
        """`weights` on a norm's output as weights on its input, its scale frozen."""
        value = self.given[norm]
        centres = isinstance(norm, torch.nn.LayerNorm)
        if centres:
            scale = (value.var(unbiased=False) + norm.eps).rsqrt()
            scaled = weights * norm.weight.detach() * scale
            return scaled - scaled.mean()
        gain = norm.weight.detach() + ("Gemma" in type(norm).__name__)
        eps = getattr(norm, "eps", None) or norm.variance_epsilon
        return weights * gain * (value.square().mean() + eps).rsqrt()

    def _fill(self) -> None:
        for layer, block in enumerate(self.layers):
            attention = getattr(block, "self_attn", None) or block.attn
            out = getattr(attention, "o_proj", None) or attention.c_proj
            down = getattr(block.mlp, "down_proj", None) or block.mlp.c_proj
            for part, module, after in (
                ("head", out, "post_attention_layernorm"),
                ("neuron", down, "post_feedforward_layernorm"),
            ):
                weights = self.direction
                if hasattr(block, "post_feedforward_layernorm"):
                    weights = self._linear(getattr(block, after), weights)
                matrix = module.weight.detach()
                matrix = matrix if type(module).__name__ == "Conv1D" else matrix.T
                each = self.given[module] * (matrix @ weights)
                if part == "head":
                    each = each.reshape(HEADS, -1).sum(1)
                    if getattr(module, "bias", None) is not None:
                        bias = float(module.bias.detach() @ weights)
                        self.of["attention_bias", layer, None] = bias
                for index, value in enumerate(each.tolist()):
                    self.of[part, layer, index] = value
        self.of["embedding", None, None] = float(self.given[self.layers[0]] @ self.direction)
        rows = self.model.lm_head.weight.detach()
        if isinstance(self.norm, torch.nn.LayerNorm):
            bias = self.norm.bias.detach() @ (rows[ANSWER] - rows[DISTRACTOR])
            self.of["final_norm_bias", None, None] = float(bias)


@pytest.fixture(scope="module", params=["llama", "gemma2", "gpt2"])
def both(request, tmp_path_factory) -> tuple[ModelKit, Expected]:
    changes = {"final_logit_softcapping": 2.0} if request.param == "gemma2" else {}
    model = reference_model(request.param, **changes)
    folder = save(model, tmp_path_factory.mktemp("dla") / "model")
    return load_model(folder), Expected(model)


def attribution(kit: ModelKit, by: str, **options) -> LogitAttribution:
    return logit_attribution(kit, TOKENS, ANSWER, DISTRACTOR, position=POSITION, by=by, **options)


@pytest.mark.parametrize("by", ["head", "neuron"])
def test_heads_neurons_and_biases_are_those_that_torch_gives(both, by):
    kit, expected = both
    found = attribution(kit, by, top_k=10_000)
    terms = {(term.part, term.layer, term.index): term.value for term in found.terms}
    assert len(terms) == len(found.terms)
    wanted = {key: v for key, v in expected.of.items() if key in terms}
    assert {key for key in terms if key[0] == by} == {k for k in expected.of if k[0] == by}
    assert ("attention_bias", 0, None) in terms or by != "head" or kit.info.architecture != "gpt2"
    for key, value in wanted.items():
        assert terms[key] == pytest.approx(value, abs=1e-5), key


@pytest.mark.parametrize("by", ["layer", "component", "head", "neuron"])
def test_the_terms_sum_to_the_logit_difference(both, by):
    kit, expected = both
    difference = float(expected.logits[ANSWER] - expected.logits[DISTRACTOR])
    found = attribution(kit, by, top_k=5)
    assert found.logit == pytest.approx(difference, abs=1e-5)
    assert found.sum == pytest.approx(difference, abs=1e-5)
    assert abs(found.error) < 1e-5
    parts = [term.part for term in found.terms]
    assert ("soft_cap" in parts) == (kit.info.architecture == "gemma2")
    assert parts.count("neuron") == (5 if by == "neuron" else 0)


def by_hand(expected: Expected, each: FeatureSet) -> dict[int, float]:
    """What each feature adds, of a set that reads what enters the third layer."""
    value = expected.given[expected.layers[2]].numpy()
    encoder = each.encoder
    features = np.maximum(value @ np.array(encoder.weight).T + np.array(encoder.bias), 0)
    adds = features * (np.array(each.decoder) @ expected.direction.numpy())
    return {index: adds[index] for index in np.flatnonzero(features)}


@pytest.mark.parametrize("writes", [Point(2, C.MLP), Point(4, C.ATTENTION), Point(1, C.RESIDUAL)])
def test_features_add_what_their_decoder_rows_do(both, writes):
    kit, expected = both
    each = random_set(kit.info.hidden_size, Point(1, C.RESIDUAL), writes)
    bound = BoundSet("made", each, kit.structure)
    wanted = by_hand(expected, each)
    found = attribution(kit, "feature", top_k=100, feature_sets=[bound])
    adds = {term.index: term.value for term in found.terms if term.part == "feature"}
    assert adds == pytest.approx(wanted, abs=1e-5)
    assert {term.layer for term in found.terms if term.feature_set} == {writes.layer}
    plain = {(term.part, term.layer): term.value for term in attribution(kit, "component").terms}
    own = [term.value for term in found.terms if term.feature_set]
    if writes.component is C.RESIDUAL:
        assert {term.layer for term in found.terms} >= {1, 2, 5}
        assert len(own) == len(adds) + 2
        assert not any(term.part == "embedding" for term in found.terms)
    else:
        assert sum(own) == pytest.approx(plain[writes.component, writes.layer], abs=1e-5)
    assert abs(found.error) < 2e-5
    few = attribution(kit, "feature", top_k=2, feature_sets=[bound])
    assert [t.index for t in few.terms if t.part == "feature"] == sorted(
        adds, key=lambda index: -abs(adds[index])
    )[:2]
    assert few.sum == pytest.approx(found.sum, abs=2e-5)


def test_sets_that_are_no_terms_are_refused():
    kit = kit_of("llama")
    width = kit.info.hidden_size

    def refused(message: str, *sets, by: str = "feature") -> None:
        bound = [BoundSet(f"set{n}", each, kit.structure) for n, each in enumerate(sets)]
        with pytest.raises(InvalidRequestError, match=message):
            logit_attribution(kit, TOKENS[:5], 7, by=by, feature_sets=bound)

    mlp, stream = random_set(width, Point(0, C.MLP)), random_set(width, Point(1, C.RESIDUAL))
    refused("at least one feature set")
    refused("they go with by feature", mlp, by="head")
    refused("both write layer_0_mlp", mlp, mlp)
    refused("what set1 writes is contained", stream, mlp)
    refused("no term of the residual", random_set(width, Point(0, C.MLP, True)))
    refused("an attribution graph", random_cross_layer(width, kit.info.layers))


def test_one_tokens_logit_is_a_sum_too(both):
    kit, expected = both
    found = logit_attribution(kit, TOKENS, ANSWER, position=POSITION, by="layer")
    assert found.sum == pytest.approx(float(expected.logits[ANSWER]), abs=1e-5)
    assert [term.layer for term in found.terms if term.part == "layer"] == list(range(6))


@pytest.mark.parametrize("architecture", ["phi", "olmo2", "qwen3_moe", "deepseek_v3", "falcon_h1"])
def test_parallel_normed_and_mixed_blocks_sum_up(architecture):
    kit = kit_of(architecture)
    for by in ("component", "head", "neuron"):
        found = logit_attribution(kit, TOKENS[:5], 7, 12, by=by)
        assert abs(found.error) < 1e-5
        assert any(term.part == "rest" for term in found.terms) == (architecture == "falcon_h1")


def test_what_is_not_there_is_refused():
    kit = kit_of("mamba2")
    assert abs(logit_attribution(kit, TOKENS[:5], 7).error) < 1e-5
    with pytest.raises(UnknownComponentError, match="no softmax attention"):
        logit_attribution(kit, TOKENS[:5], 7, by="head")
    with pytest.raises(UnknownPositionError, match="0 to 4"):
        logit_attribution(kit, TOKENS[:5], 7, position=5)
    with pytest.raises(InvalidRequestError, match="layer, component, head, neuron, feature"):
        logit_attribution(kit, TOKENS[:5], 7, by="soul")
    assert np.isfinite(logit_attribution(kit, TOKENS[:5], 7, 7).logit)
