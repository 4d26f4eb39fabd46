"""Logits that are NaN or infinite are an error that names the first layer whose output is so."""

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_map
from tiny import PROMPT, tiny_kit

from engine.analysis import circuits
from engine.analysis.circuits import patch_effects
from engine.analysis.logit_lens import logit_lens
from engine.analysis.task import Task
from engine.captures.hooks import ActivationHookSpec
from engine.errors import NotFiniteError
from engine.interventions.intervention import Intervention
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.runs.kit import ModelKit
from engine.runs.scoring import score

NAMES = ["llama", "gpt2", "gemma2", "mamba"]


@pytest.fixture(params=NAMES)
def kit(request) -> ModelKit:
    """A model of its own for each test, to be spoilt."""
    deep = {"n_layer": 4} if request.param == "gpt2" else {"num_hidden_layers": 4}
    return tiny_kit(request.param, **deep, layer_types=None)


def spoil(kit: ModelKit, layer: int, value: float) -> None:
    """One number in the weights with which a layer writes to the residual stream."""
    named = dict(kit.model.layers[layer].named_modules())
    module = next(named[name] for name in OUTPUTS if name in named)
    weight = np.array(module.weight)
    weight.flat[5] = value
    module.weight = mx.array(weight)


OUTPUTS = ["mlp.down_proj", "mlp.c_proj", "mixer.out_proj"]


def outputs(kit: ModelKit) -> str:
    """The component that those weights are the end of."""
    return "attention" if kit.model_id == "mamba" else "mlp"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layer", [0, 2])
def test_a_forward_pass_names_the_layer(kit, layer, value):
    spoil(kit, layer, value)
    named = f"first output that is so is {outputs(kit)} of layer {layer}, at position 0"
    for options in ({}, {"logits": "all"}, {"prefill_step_size": 5}):
        with pytest.raises(NotFiniteError, match=named):
            forward(kit, [PROMPT, PROMPT[::-1]], **options)


def test_a_generation_names_the_layer(kit):
    spoil(kit, 1, np.nan)
    steps = create_generator_with_activations(kit, PROMPT, max_tokens=3)
    with pytest.raises(NotFiniteError, match=f"{outputs(kit)} of layer 1, at position 0"):
        next(steps)


def test_scores_of_a_sequence_name_the_layer(kit):
    score(kit, PROMPT)
    spoil(kit, 1, np.nan)
    with pytest.raises(NotFiniteError, match=f"{outputs(kit)} of layer 1, at position 0"):
        score(kit, PROMPT)


def test_so_do_the_lens_and_circuits(kit):
    spoil(kit, 2, np.inf)
    named = f"{outputs(kit)} of layer 2"
    with pytest.raises(NotFiniteError, match=named):
        list(logit_lens(kit, PROMPT))
    task = Task(PROMPT, [*PROMPT[:-1], 5], 3, 4)
    for method in circuits.METHODS:
        with pytest.raises(NotFiniteError, match=named):
            patch_effects(kit, task, component="residual", method=method)


def test_numbers_beyond_float16_are_told_with_what_helps(kit):
    edits = [Intervention("2", "residual", "scaling", factor=1e7)]
    forward(kit, [PROMPT], interventions=edits)
    kit.model.update(tree_map(lambda weight: weight.astype(mx.float16), kit.model.parameters()))
    forward(kit, [PROMPT])
    with pytest.raises(NotFiniteError, match=r"residual of layer 2.*load the model in float32"):
        forward(kit, [PROMPT], interventions=edits)


def test_an_embedding_comes_before_all_layers(kit):
    named = dict(kit.model.named_modules())
    names = ("model.embed_tokens", "model.wte", "backbone.embeddings")
    embedding = next(named[name] for name in names if name in named)
    embedding.weight[PROMPT[6]] = mx.nan
    with pytest.raises(NotFiniteError, match="is the embedding, at position 6"):
        forward(kit, [PROMPT])


def test_a_change_may_be_the_reason_in_the_middle_of_a_text(kit):
    change = {"component": "residual", "operation": "addition", "positions": "generated"}
    edit = Intervention("2", value=np.array([np.inf]), **change)
    steps = create_generator_with_activations(kit, PROMPT, interventions=[edit], max_tokens=5)
    assert np.isfinite(next(steps)[0].logprob)
    with pytest.raises(NotFiniteError, match=f"residual of layer 2, at position {len(PROMPT)}"):
        next(steps)


def test_a_function_is_not_asked_again(kit):
    calls = []

    def function(value, point, positions):
        calls.append(positions)
        return np.full_like(value, np.nan)

    edit = Intervention("1", "residual", "function", function=function)
    with pytest.raises(NotFiniteError, match="a function's values"):
        forward(kit, [PROMPT], interventions=[edit])
    assert calls == [tuple(range(len(PROMPT)))]


def test_good_runs_look_at_no_layer(kit, monkeypatch):
    monkeypatch.setattr("engine.runs.finite._first", None)
    hooks = [ActivationHookSpec("*", "residual")]
    forward(kit, [PROMPT], hooks, logits="all")
    assert len(list(create_generator_with_activations(kit, PROMPT, hooks, max_tokens=3))) == 3


def test_tokens_that_a_model_rules_out_are_no_fault():
    kit = tiny_kit("phi3small")
    assert np.isneginf(forward(kit, [PROMPT], logits="all").logits).any()
